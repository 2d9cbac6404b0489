"""The lean client of the batch stream, against a peer that misbehaves on a real socket."""

import asyncio
import hashlib
import socket
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from contracts import internal
from contracts.small_files import SMALL_FILE_BYTES, decode_files
from contracts.submissions import ItemResult, ItemStatus
from gateway.lean_http import Answer, BrokenConnection, LeanClient
from gateway.upstream import Upstream, UpstreamUnavailable
from tests.support.builders import submission

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"

BODY = internal.encode_lookup(internal.LookupAnswer("e", 1, {}))
LOOKED_UP = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)

pytestmark = pytest.mark.asyncio

Behave = Callable[[Reader, Writer, bytes], Awaitable[None]]


class Peer:
    """Answers the n-th request as the n-th behaviour says, the last one again and again."""

    def __init__(self, *behaviours: Behave) -> None:
        self.behaviours = list(behaviours)
        self.requests: list[bytes] = []
        self.connections = 0

    async def serve(self, reader: Reader, writer: Writer) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                behave = self.behaviours[0]
                if len(self.behaviours) > 1:
                    self.behaviours.pop(0)
                await behave(reader, writer, self.requests[-1])
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def running(*behaviours: Behave) -> AsyncIterator[tuple[Peer, str]]:
    peer = Peer(*behaviours)
    async with await asyncio.start_server(peer.serve, "127.0.0.1", 0) as server:
        yield peer, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def running_at(path: Path, *behaviours: Behave) -> AsyncIterator[tuple[Peer, str]]:
    """At a Unix socket."""
    peer = Peer(*behaviours)
    async with await asyncio.start_unix_server(peer.serve, path):
        yield peer, f"unix:{path}"


def says(data: bytes) -> Behave:
    async def behave(_: Reader, writer: Writer, __: bytes) -> None:
        writer.write(data)

    return behave


async def hangs_up(_: Reader, writer: Writer, __: bytes) -> None:
    writer.close()


async def commits(_: Reader, writer: Writer, request: bytes) -> None:
    batch = internal.decode_batch(request.partition(b"\r\n\r\n")[2])
    results = [ItemResult(ItemStatus.STORED, item.id, item.received_at) for item in batch]
    body = internal.encode_results(results)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n1\r\ni\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
    ],
    ids=["length", "chunked", "after 100"],
)
async def test_answers_are_read_and_connections_kept(answer: bytes) -> None:
    async with running(says(answer)) as (peer, url):
        client = LeanClient(url, {"Authorization": "Bearer t"})
        for _ in range(3):
            assert (await client.post("/a", b"{}", 5)).body == b"hi"
        await client.close()
    assert peer.connections == 1
    assert b"Authorization: Bearer t\r\n" in peer.requests[0]


async def test_requests_at_once_have_connections_of_their_own() -> None:
    async def slowly(_: Reader, writer: Writer, request: bytes) -> None:
        await asyncio.sleep(0.01)
        body = request[-1:]
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" + body)

    async with running(slowly) as (peer, url):
        client = LeanClient(url, {})
        answers = await asyncio.gather(*(client.post("/", b"%d" % n, 5) for n in range(4)))
        await client.close()
    assert [answer.body for answer in answers] == [b"0", b"1", b"2", b"3"]
    assert peer.connections == 4


async def test_a_connection_that_is_to_close_is_not_used_again() -> None:
    async with running(says(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))) as (
        peer,
        url,
    ):
        client = LeanClient(url, {})
        for _ in range(2):
            assert await client.post("/", b"", 5) == Answer(200, b"hi")
        await client.close()
    assert peer.connections == 2


@pytest.mark.parametrize(
    "behave",
    [hangs_up, says(b"garbage\r\n\r\n"), says(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n")],
    ids=["hangs up", "garbage", "bad length"],
)
async def test_what_is_no_answer_breaks_the_connection(behave: Behave) -> None:
    async with running(behave) as (_, url):
        client = LeanClient(url, {})
        with pytest.raises(BrokenConnection):
            await client.post("/", b"", 5)
        await client.close()


async def test_an_answer_that_comes_too_late_reaches_nobody_else() -> None:
    async def late(_: Reader, writer: Writer, __: bytes) -> None:
        await asyncio.sleep(0.05)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")

    async with running(late, says(OK)) as (peer, url):
        client = LeanClient(url, {})
        with pytest.raises(TimeoutError):
            await client.post("/", b"", 0.01)
        assert (await client.post("/", b"", 5)).body == b"hi"
        await client.close()
    assert peer.connections == 2


async def test_a_batch_whose_connection_breaks_is_sent_once_more() -> None:
    item = submission()
    async with running(hangs_up, commits) as (peer, url):
        upstream = Upstream(url, "t")
        [result] = await upstream.commit([item])
        await upstream.close()
    assert result.id == item.id
    assert peer.requests[0] == peer.requests[1]


async def test_an_idle_connection_that_was_closed_costs_nothing() -> None:
    async def commits_and_closes(reader: Reader, writer: Writer, request: bytes) -> None:
        await commits(reader, writer, request)
        writer.close()

    async with running(commits_and_closes) as (_, url):
        upstream = Upstream(url, "t")
        for _n in range(3):
            [result] = await upstream.commit([submission()])
            assert result.status is ItemStatus.STORED
        await upstream.close()


@pytest.mark.parametrize(
    "behave",
    [hangs_up, says(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"), says(b"junk\r\n\r\n")],
    ids=["hangs up", "503", "junk"],
)
async def test_a_backend_that_cannot_answer_is_unavailable(behave: Behave) -> None:
    async with running(behave) as (_, url):
        upstream = Upstream(url, "t")
        with pytest.raises(UpstreamUnavailable):
            await upstream.commit([submission()])
        await upstream.close()


async def test_a_backend_that_is_not_there_is_unavailable() -> None:
    async with running(hangs_up) as (_, url):
        pass
    upstream = Upstream(url, "t")
    with pytest.raises(UpstreamUnavailable):
        await upstream.commit([submission()])
    await upstream.close()


async def test_all_of_it_travels_by_a_socket(tmp_path: Path) -> None:
    behaviours = (commits, takes, takes, commits, says(LOOKED_UP))
    async with running_at(tmp_path / "s", *behaviours) as (peer, url):
        upstream = Upstream(url, "t")
        item = submission()
        assert [result.id for result in await upstream.commit([item])] == [item.id]
        await upstream.put_file("small", Bytes(b"x"))
        await upstream.put_file("large", Bytes(b"x" * (SMALL_FILE_BYTES + 1)))
        assert [result.id for result in await upstream.commit([item])] == [item.id]
        assert (await upstream.look_up(["contact"])).forms == {}
        await upstream.close()
    # One of the lean client, one of httpx.
    assert peer.connections == 2
    assert all(b"\r\nhost: localhost\r\n" in request.lower() for request in peer.requests)
    assert all(b"\r\nauthorization: bearer t\r\n" in r.lower() for r in peer.requests)


@pytest.mark.parametrize("is_stale", [True, False], ids=["stale", "missing"])
async def test_a_socket_that_nobody_listens_on_is_unavailable(
    tmp_path: Path, is_stale: bool
) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path if is_stale else tmp_path / "another"))
    upstream = Upstream(f"unix:{path}", "t")
    with pytest.raises(UpstreamUnavailable):
        await upstream.commit([submission()])
    with pytest.raises(UpstreamUnavailable):
        await upstream.look_up(["contact"])
    await upstream.close()


@dataclass(frozen=True)
class Bytes:
    """The content of a file."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    async def chunks(self) -> AsyncIterator[bytes]:
        for start in range(0, self.size, 65_536):
            yield self.data[start : start + 65_536]


async def takes(_: Reader, writer: Writer, __: bytes) -> None:
    await asyncio.sleep(0.01)
    writer.write(OK)


def takes_no_batch(status: int) -> Behave:
    async def behave(_: Reader, writer: Writer, request: bytes) -> None:
        no = b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status
        writer.write(no if request.startswith(b"POST") else OK)

    return behave


async def put_files(url: str, contents: dict[str, bytes]) -> None:
    upstream = Upstream(url, "t")
    try:
        await asyncio.gather(*(upstream.put_file(k, Bytes(v)) for k, v in contents.items()))
    finally:
        await upstream.close()


def methods(peer: Peer) -> list[bytes]:
    return [request.partition(b" ")[0] for request in peer.requests]


async def test_small_files_travel_together() -> None:
    contents = {f"frm/{n}-é \n": b"%d" % n * (n * 700) for n in range(40)}
    contents["largest"] = b"x" * SMALL_FILE_BYTES
    async with running(takes) as (peer, url):
        await put_files(url, contents)
    assert set(methods(peer)) == {b"POST"}
    assert len(peer.requests) <= 3
    assert all(request.startswith(b"POST /internal/v1/files HTTP/1.1") for request in peer.requests)
    assert all(b"Content-Type: application/octet-stream\r\n" in r for r in peer.requests)
    files = [f for r in peer.requests for f in decode_files(r.partition(b"\r\n\r\n")[2])]
    assert {file.object_key: file.data for file in files} == contents
    assert all(hashlib.sha256(file.data).hexdigest() == file.sha256 for file in files)


async def test_a_file_that_is_not_small_goes_alone() -> None:
    async with running(takes) as (peer, url):
        await put_files(url, {"a b": b"x" * (SMALL_FILE_BYTES + 1)})
    [request] = peer.requests
    assert request.startswith(b"PUT /internal/v1/files/a%20b HTTP/1.1")
    assert len(request.partition(b"\r\n\r\n")[2]) == SMALL_FILE_BYTES + 1


@pytest.mark.parametrize("status", [400, 404, 413])
async def test_files_that_are_not_taken_together_go_one_by_one(status: int) -> None:
    async with running(takes_no_batch(status)) as (peer, url):
        await put_files(url, {"a": b"1", "b": b"2", "c": b"3"})
    puts = [request for request in peer.requests if request.startswith(b"PUT")]
    assert sorted(request[-1:] for request in puts) == [b"1", b"2", b"3"]


async def test_small_files_whose_connection_breaks_are_sent_once_more() -> None:
    async with running(hangs_up, takes) as (peer, url):
        await put_files(url, {"a": b"1"})
    assert peer.requests[0] == peer.requests[1]


@pytest.mark.parametrize("behave", [hangs_up, takes_no_batch(503), takes_no_batch(500)])
async def test_small_files_are_not_stored_while_the_backend_cannot_answer(behave: Behave) -> None:
    async with running(behave) as (peer, url):
        with pytest.raises(UpstreamUnavailable):
            await put_files(url, {"a": b"1"})
    assert set(methods(peer)) == {b"POST"}
