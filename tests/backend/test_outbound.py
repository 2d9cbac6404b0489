"""Calls to foreign hosts, against targets that do their worst."""

import asyncio
import gzip
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import uvloop

from backend.outbound import connections, lookups
from backend.outbound.client import Answer, OutboundClient, OutboundError, TargetForbidden
from tests.backend.outbound_builders import (
    LOOPBACK,
    OK,
    Behaviour,
    answering,
    client,
    hanging,
    repeating,
    sink,
)

LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [
    asyncio.new_event_loop,
    uvloop.new_event_loop,
]
SHORT_SECONDS = 0.2


def reaching() -> OutboundClient:
    """A client that may call this machine, where every name leads to."""
    return client(["127.0.0.1"], cidrs=LOOPBACK)


async def failure(calling: OutboundClient, url: str, timeout_seconds: float = 10.0) -> str:
    """Why a call comes to nothing, other than that its target is forbidden."""
    with pytest.raises(OutboundError) as failed:
        await calling.post(url, b"{}", {}, timeout_seconds)
    assert not isinstance(failed.value, TargetForbidden)
    assert "\n" not in str(failed.value)
    return str(failed.value)


@pytest.mark.asyncio
async def test_the_request_arrives_as_it_was_given() -> None:
    body = '{"a":"ä"}'.encode()
    async with sink(answering(OK)) as target:
        answer = await reaching().post(
            target.url("Hooks.Example"),
            body,
            {"user-agent": "Test/1", "X-Own": "zwölf", "x-own": "2"},
        )
    assert answer == Answer(200, b"ok")
    assert target.bodies == [body]
    assert target.heads[0].decode().split("\r\n") == [
        "POST /hook?a=1 HTTP/1.1",
        f"Host: hooks.example:{target.port}",
        "user-agent: Test/1",
        "X-Own: zwölf",
        "x-own: 2",
        "Accept-Encoding: identity",
        "Connection: close",
        f"Content-Length: {len(body)}",
        "",
        "",
    ]


@pytest.mark.asyncio
async def test_headers_of_the_connection_cannot_be_given() -> None:
    headers = {
        "HOST": "internal",
        "content-length": "1",
        "Transfer-Encoding": "chunked",
        "connection": "keep-alive",
        "Accept-Encoding": "gzip",
        "Expect": "100-continue",
    }
    async with sink(answering(OK)) as target:
        await reaching().post(target.url(), b"body", headers)
    names = [line.split(b":")[0].lower() for line in target.heads[0].split(b"\r\n")[1:-2]]
    assert names == [b"host", b"accept-encoding", b"connection", b"content-length"]
    assert target.bodies == [b"body"]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x", "1\r\nHost: internal"),
        ("x\r\ny", "1"),
        ("x y", "1"),
        ("x:", "1"),
        ("", "1"),
        ("x", "\0"),
    ],
)
async def test_a_header_that_would_be_another_one_is_not_sent(name: str, value: str) -> None:
    async with sink(answering(OK)) as target:
        with pytest.raises(OutboundError, match="header"):
            await reaching().post(target.url(), b"", {name: value})
    assert target.hits == 0


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "status", [200, 204, 299, 301, 302, 307, 308, 400, 404, 410, 429, 500, 503]
)
async def test_any_status_is_an_answer_and_a_redirect_is_not_followed(status: int) -> None:
    async with sink(answering(OK)) as elsewhere:
        head = f"HTTP/1.1 {status} X\r\nLocation: {elsewhere.url()}\r\nContent-Length: 0\r\n\r\n"
        async with sink(answering(head.encode())) as target:
            answer = await reaching().post(target.url(), b"", {})
            assert (answer.status, target.hits, elsewhere.hits) == (status, 1, 0)


@pytest.mark.asyncio
async def test_no_proxy_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with sink(answering(OK)) as proxy, sink(answering(OK)) as target:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
            monkeypatch.setenv(name.lower(), f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        await reaching().post(target.url("a.example"), b"", {})
    assert (target.hits, proxy.hits) == (1, 0)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nanswer",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nans\r\n3;x=y\r\nwer\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nanswer",
        b"HTTP/1.0 200 OK\r\n\r\nanswer",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nanswer",
    ],
)
async def test_an_answer_may_be_framed_in_any_way(answer: bytes) -> None:
    async with sink(answering(answer)) as target:
        assert await reaching().post(target.url(), b"", {}) == Answer(200, b"answer")


@pytest.mark.asyncio
async def test_an_answer_ends_with_its_last_byte_though_the_connection_stays_open() -> None:
    async def behaviour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        await hanging(reader, writer)

    async with sink(behaviour) as target:
        assert (await reaching().post(target.url(), b"", {})).content == b"ok"
        await target.idle()


@pytest.mark.asyncio
async def test_an_answer_without_having_read_the_request_counts() -> None:
    async def behaviour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        await asyncio.Event().wait()

    async with sink(behaviour, reads_request=False) as target:
        body = b"x" * 50_000_000
        assert (await reaching().post(target.url(), body, {})).status == 413


@pytest.mark.asyncio
async def test_what_is_not_sent_by_the_deadline_is_not_sent_later() -> None:
    is_over = asyncio.Event()
    received: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    body = b"x" * 50_000_000

    async def behaviour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await is_over.wait()
        size = 0
        try:
            while data := await reader.read(65_536):
                size += len(data)
        finally:
            received.set_result(size)

    async with sink(behaviour, reads_request=False) as target:
        with pytest.raises(OutboundError, match="within"):
            await reaching().post(target.url(), body, {}, SHORT_SECONDS)
        is_over.set()
        async with asyncio.timeout(20):
            assert await received < len(body)


@pytest.mark.asyncio
async def test_a_compressed_answer_stays_compressed() -> None:
    bomb = gzip.compress(bytes(20_000_000))
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    async with sink(answering(head + bomb)) as target:
        answer = await reaching().post(target.url(), b"", {})
    assert answer.content == bomb[:4_096]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "behaviour",
    [
        repeating(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n", b"x" * 10_000),
        repeating(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 1_000),
        repeating(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 10_000),
    ],
    ids=["length", "chunked", "close"],
)
async def test_an_endless_answer_is_cut(behaviour: Behaviour) -> None:
    async with sink(behaviour) as target:
        answer = await reaching().post(target.url(), b"", {})
        await target.idle()
    assert answer == Answer(200, b"x" * 4_096)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "behaviour",
    [
        repeating(b"HTTP/1.1 200 OK\r\n", b"x-more: more\r\n" * 100),
        repeating(b"HTTP/1.1 200 OK\r\nx-long: ", b"x" * 10_000),
        repeating(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
        repeating(b"HTTP/1.1 ", b"2" * 10_000),
    ],
    ids=["headers", "header", "interim", "status"],
)
async def test_an_endless_beginning_is_no_answer(behaviour: Behaviour) -> None:
    async with sink(behaviour) as target:
        reason = await failure(reaching(), target.url())
        await target.idle()
    assert "within" not in reason


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "closed the connection"),
        (b"HTTP/1.1 200 O", "closed the connection"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "closed the connection"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", "closed the connection"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhal", "closed the connection"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "closed the connection"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "closed the connection"),
        (b"220 mail ESMTP\r\n\r\n", "not valid HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", "not valid HTTP"),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "not valid HTTP"),
        (b"HTTP/1.1 20 OK\r\n\r\n", "not valid HTTP"),
        (b"\x16\x03\x01\x00\xff\r\n\r\n", "not valid HTTP"),
    ],
)
async def test_half_an_answer_is_none(answer: bytes, reason: str) -> None:
    async with sink(answering(answer)) as target:
        assert reason in await failure(reaching(), target.url())


SLOW: dict[str, Behaviour] = {
    "hangs": hanging,
    "drips a status": repeating(b"HTTP/1.1 200 O", b"K", 0.02),
    "drips headers": repeating(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n", 0.02),
    "drips content": repeating(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n", b"x", 0.02),
    "drips chunks": repeating(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0", 0.02),
    "drips interim answers": repeating(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.02),
}


@pytest.mark.parametrize("new_loop", LOOPS, ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("mode", SLOW)
def test_a_slow_target_has_until_the_deadline_and_not_longer(
    mode: str, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def call() -> str:
        async with sink(SLOW[mode]) as target:
            reason = await failure(reaching(), target.url(), SHORT_SECONDS)
            # Its descriptor is not left open.
            await target.idle()
            assert target.hits == 1
        return reason

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(call()) == "the target did not answer within 0.2 s"


@pytest.mark.parametrize("new_loop", LOOPS, ids=["asyncio", "uvloop"])
def test_a_handshake_that_hangs_ends_by_the_deadline(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def call() -> str:
        async with sink(hanging, reads_request=False) as target:
            url = target.url("a.example", "https")
            reason = await failure(reaching(), url, SHORT_SECONDS)
            await target.idle()
            assert target.hits == 1
        return reason

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(call()) == "the target did not answer within 0.2 s"


@pytest.fixture
def full_port() -> Iterator[int]:
    """A port that takes no connection and refuses none: its queue is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@pytest.mark.parametrize("new_loop", LOOPS, ids=["asyncio", "uvloop"])
def test_a_connect_that_hangs_ends_by_the_deadline(
    full_port: int, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    url = f"http://127.0.0.1:{full_port}/"
    with asyncio.Runner(loop_factory=new_loop) as runner:
        reason = runner.run(failure(reaching(), url, SHORT_SECONDS))
    assert reason == "the target did not answer within 0.2 s"


@pytest.mark.asyncio
async def test_an_address_that_hangs_leaves_time_for_the_others(
    full_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "CONNECT_SECONDS", SHORT_SECONDS)
    server = await asyncio.start_server(_answer_at_once, "127.0.0.2", full_port)
    async with server:
        calling = client(["127.0.0.1", "127.0.0.2"], cidrs=LOOPBACK)
        assert (await calling.post(f"http://a.example:{full_port}/", b"", {})).status == 200


@pytest.mark.asyncio
async def test_an_address_that_takes_no_connection_leaves_it_to_the_next() -> None:
    async with sink(answering(OK)) as target:
        calling = client(["127.0.0.3", "127.0.0.2", "127.0.0.1"], cidrs=LOOPBACK)
        assert (await calling.post(target.url("a.example"), b"", {})).status == 200
        calling = client(["127.0.0.3", "127.0.0.2"], cidrs=LOOPBACK)
        reason = await failure(calling, target.url("a.example"))
        assert reason == "the target takes no connection: Connection refused"
    assert target.hits == 1


@pytest.mark.asyncio
async def test_every_request_has_a_connection_of_its_own() -> None:
    async with sink(repeating(OK, b"", 0.01)) as target:
        calling = reaching()
        for _ in range(3):
            await calling.post(target.url("a.example"), b"", {})
        await target.idle()
    assert target.hits == 3


@pytest.mark.asyncio
async def test_targets_that_hang_do_not_keep_others_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Three hundred at once on a busy machine may take longer than one target may.
    monkeypatch.setattr(lookups, "LOOKUP_SECONDS", 60.0)
    monkeypatch.setattr(connections, "CONNECT_SECONDS", 60.0)
    async with sink(hanging) as dead, sink(answering(OK)) as good:
        calling = reaching()
        waiting = [
            asyncio.create_task(calling.post(dead.url(f"d{n}.example"), b"{}", {}, 60.0))
            for n in range(300)
        ]
        async with asyncio.timeout(30):
            while dead.open < len(waiting):
                await asyncio.sleep(0.01)
        assert (await calling.post(good.url("a.example"), b"", {})).status == 200
        assert dead.open == len(waiting)
        for call in waiting:
            call.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await dead.idle()


async def _answer_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(OK)
    await writer.drain()
    writer.close()


class SlowResolver:
    """Hangs for names that begin with ``dead``, until it is let go."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._is_over = threading.Event()

    def __call__(self, host: str) -> list[str]:
        self.asked.append(host)
        if host.startswith("dead"):
            self._is_over.wait()
        return ["127.0.0.1"]

    def let_go(self) -> None:
        self._is_over.set()


@pytest.fixture
def resolver() -> Iterator[SlowResolver]:
    slow = SlowResolver()
    yield slow
    slow.let_go()


@pytest.mark.asyncio
async def test_a_resolver_that_hangs_has_a_time_of_its_own(
    resolver: SlowResolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookups, "LOOKUP_SECONDS", SHORT_SECONDS)
    async with sink(answering(OK)) as target:
        calling = client(resolver, cidrs=LOOPBACK)
        reason = await failure(calling, target.url("dead.example"))
        assert reason == "the host's name could not be looked up within 0.2 s"
        assert (await calling.post(target.url("a.example"), b"", {})).status == 200
        # The thread that still hangs is waited for again, and no second one is taken.
        await failure(calling, target.url("dead.example"))
        assert resolver.asked == ["dead.example", "a.example"]
        resolver.let_go()
        async with asyncio.timeout(20):
            while resolver.asked.count("dead.example") < 2:
                await asyncio.sleep(0.01)
                assert (await calling.post(target.url("dead.example"), b"", {})).status == 200
        await calling.close()


@pytest.mark.asyncio
async def test_the_deadline_covers_the_lookup(resolver: SlowResolver) -> None:
    calling = client(resolver, cidrs=LOOPBACK)
    reason = await failure(calling, "http://dead.example/", SHORT_SECONDS)
    assert reason == "the target did not answer within 0.2 s"
    await calling.close()


@pytest.mark.asyncio
async def test_names_that_hang_take_a_bounded_number_of_threads(
    resolver: SlowResolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookups, "THREADS_MAX", 3)
    calling = client(resolver, cidrs=LOOPBACK)
    calls = (failure(calling, f"http://dead{n}.example/", SHORT_SECONDS) for n in range(9))
    await asyncio.gather(*calls)
    assert len(resolver.asked) == 3
    await calling.close()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
            "Name or service not known",
        ),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), "Temporary failure"),
        (OSError(), "OSError"),
    ],
)
async def test_a_name_that_leads_nowhere_is_said(error: OSError, reason: str) -> None:
    def resolve(host: str) -> list[str]:
        raise error

    assert reason in await failure(client(resolve), "https://a.example/")
    assert "no address" in await failure(client([]), "https://a.example/")


def test_a_resolver_that_hangs_does_not_keep_the_process() -> None:
    code = """
import asyncio, threading
from backend.outbound.client import OutboundClient, OutboundError
from contracts.runtime.settings import load_settings

async def main():
    client = OutboundClient(load_settings(environ={}), lambda host: threading.Event().wait())
    try:
        await client.post("https://a.example/", b"", {}, 0.1)
    except OutboundError as error:
        print(error)
    await client.close()

asyncio.run(main())
"""
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert (ended.stdout, ended.stderr) == ("the target did not answer within 0.1 s\n", "")
