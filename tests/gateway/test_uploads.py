"""Files of a post: received, bounded, thrown away, put into the store."""

import asyncio
import hashlib
import stat
import subprocess
import sys
import tracemalloc
from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from contracts.problems import Problem, Rejected
from contracts.submissions import StoredFile
from gateway.parsing.bodies import ClientDisconnected, read_body
from gateway.parsing.fields import Body, BodyLimits
from gateway.staging import CHUNK_BYTES, QUOTA_BYTES, Staging, Upload
from gateway.uploads import check_uploads, name_files, send_files
from gateway.upstream import Upstream, UpstreamUnavailable
from tests.support.builders import NOW_MS

MIB = 1024**2
LIMITS = BodyLimits(file_bytes=32 * MIB)
CLOSE = b"--B--\r\n"


def part(
    disposition: str = 'name="f"; filename="x.bin"', value: bytes = b"", kind: str = ""
) -> bytes:
    head = f"--B\r\nContent-Disposition: form-data; {disposition}\r\n"
    head += f"Content-Type: {kind}\r\n" if kind else ""
    return head.encode() + b"\r\n" + value + b"\r\n"


async def read(
    staging: Staging, chunks: Sequence[bytes | None], limits: BodyLimits = LIMITS
) -> Body:
    """Reads a multipart body; at a None the client goes away."""
    waiting = list(reversed(chunks))

    async def receive() -> MutableMapping[str, Any]:
        chunk = waiting.pop()
        if chunk is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": chunk, "more_body": bool(waiting)}

    return await read_body(
        receive,
        content_type=b"multipart/form-data; boundary=B",
        content_length=None,
        content_encoding=None,
        limits=limits,
        staging=staging,
    )


async def read_one(staging: Staging, *chunks: bytes, limits: BodyLimits = LIMITS) -> Upload:
    [upload] = (await read(staging, [*chunks, CLOSE], limits)).files
    return upload


async def content(upload: Upload) -> bytes:
    return b"".join([chunk async for chunk in upload.chunks()])


def staged(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


def entries(directory: Path) -> list[Path]:
    return list(directory.iterdir())


@pytest.fixture
def staging(tmp_path: Path) -> Staging:
    return Staging(tmp_path / "staging")


@pytest.mark.asyncio
async def test_a_large_file_streams_through_little_memory(staging: Staging, tmp_path: Path) -> None:
    piece = bytes(range(256)) * 256
    head, tail = part().removesuffix(b"\r\n"), b"\r\n"
    await read_one(staging, head, piece * 2, tail)
    tracemalloc.start()
    try:
        upload = await read_one(staging, head, *(piece for _ in range(480)), tail)
        digest = hashlib.sha256()
        async for chunk in upload.chunks():
            assert len(chunk) <= CHUNK_BYTES
            digest.update(chunk)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * MIB
    assert (upload.size, upload.is_oversize) == (30 * MIB, False)
    assert upload.sha256 == digest.hexdigest() == hashlib.sha256(piece * 480).hexdigest()
    upload.discard()
    upload.discard()


@pytest.mark.asyncio
@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES])
@pytest.mark.parametrize("step", [1_000, CHUNK_BYTES, 10 * MIB])
async def test_a_file_arrives_as_it_was_sent(staging: Staging, size: int, step: int) -> None:
    data = (b"\r\n--" + bytes(range(251))) * (size // 255 + 1)
    body = part(value=data[:size])
    chunks = [body[start : start + step] for start in range(0, len(body), step)]
    upload = await read_one(staging, *chunks)
    assert await content(upload) == await content(upload) == data[:size]
    assert (upload.size, upload.sha256) == (size, hashlib.sha256(data[:size]).hexdigest())
    upload.discard()


@pytest.mark.asyncio
async def test_only_a_file_that_is_not_small_is_staged_and_for_nobody_elses_eyes(
    staging: Staging, tmp_path: Path
) -> None:
    small = await read_one(staging, part(value=b"x" * CHUNK_BYTES))
    assert staged(tmp_path) == []
    large = await read_one(staging, part(value=b"x" * (CHUNK_BYTES + 1)))
    [path] = staged(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert "x.bin" not in str(path)
    small.discard()
    large.discard()
    assert staged(tmp_path) == []


@pytest.mark.asyncio
@pytest.mark.parametrize("file_bytes", [0, 100, CHUNK_BYTES, MIB])
async def test_a_file_over_the_limit_is_counted_and_thrown_away(
    staging: Staging, tmp_path: Path, file_bytes: int
) -> None:
    data = b"x" * (MIB + 1)
    limits = BodyLimits(file_bytes=file_bytes)
    pieces = [data[start : start + 10_000] for start in range(0, len(data), 10_000)]
    head = part().removesuffix(b"\r\n")
    upload = await read_one(staging, head, *pieces, b"\r\n", limits=limits)
    assert (upload.is_oversize, upload.size) == (True, len(data))
    assert upload.sha256 == hashlib.sha256(data).hexdigest()
    assert staged(tmp_path) == []


@pytest.mark.asyncio
async def test_a_file_of_exactly_the_limit_is_kept(staging: Staging) -> None:
    upload = await read_one(staging, part(value=b"x" * 100), limits=BodyLimits(file_bytes=100))
    assert not upload.is_oversize


LARGE = part(value=b"x" * 3 * CHUNK_BYTES)
REFUSED = {
    "no closing boundary": ([LARGE, part("name=a", b"v")], Problem.BAD_BODY),
    "malformed": ([LARGE, b"--B\r\nX\r\n\r\n", CLOSE], Problem.BAD_BODY),
    "after the end": ([LARGE, b"--B--x", CLOSE], Problem.BAD_BODY),
    "too many files": ([LARGE, *[part()] * 10, CLOSE], Problem.BODY_TOO_LARGE),
    "too much text": ([LARGE, part("name=a", b"v" * MIB), CLOSE], Problem.BODY_TOO_LARGE),
    "too long a name": ([LARGE, part("name=" + "a" * 300, b"v"), CLOSE], Problem.BODY_TOO_LARGE),
}


@pytest.mark.asyncio
@pytest.mark.parametrize("name", REFUSED)
async def test_of_a_refused_body_nothing_is_kept(
    staging: Staging, tmp_path: Path, name: str
) -> None:
    chunks, problem = REFUSED[name]
    with pytest.raises(Rejected) as caught:
        await read(staging, chunks)
    assert caught.value.problem is problem
    assert staged(tmp_path) == []


@pytest.mark.asyncio
@pytest.mark.parametrize(("file_bytes", "mib"), [(MIB, 11), (0, 9)])
async def test_a_body_that_does_not_end_is_refused_at_its_bound(
    staging: Staging, tmp_path: Path, file_bytes: int, mib: int
) -> None:
    limits = BodyLimits(file_bytes=file_bytes)
    chunks = [part().removesuffix(b"\r\n"), *[b"x" * MIB] * mib, None]
    with pytest.raises(Rejected) as caught:
        await read(staging, chunks, limits)
    assert caught.value.problem is Problem.BODY_TOO_LARGE
    assert staged(tmp_path) == []


@pytest.mark.asyncio
async def test_of_a_client_that_goes_away_nothing_is_kept(staging: Staging, tmp_path: Path) -> None:
    with pytest.raises(ClientDisconnected):
        await read(staging, [LARGE, LARGE, None])
    assert staged(tmp_path) == []


@pytest.mark.asyncio
@pytest.mark.parametrize("turns", range(30))
async def test_of_a_cancelled_post_nothing_is_kept_whenever_it_is_cancelled(
    staging: Staging, tmp_path: Path, turns: int
) -> None:
    reading = asyncio.create_task(read(staging, [*[LARGE] * 9, None]))
    for _ in range(turns):
        await asyncio.sleep(0.0003 if turns % 2 else 0)
    reading.cancel()
    with pytest.raises((asyncio.CancelledError, ClientDisconnected)):
        await reading
    await asyncio.get_running_loop().shutdown_default_executor()
    assert staged(tmp_path) == []
    staging.reserve(QUOTA_BYTES)


@pytest.mark.asyncio
async def test_uploads_have_a_quota_that_discarding_gives_back(tmp_path: Path) -> None:
    staging = Staging(tmp_path, quota_bytes=4 * CHUNK_BYTES)
    first = await read_one(staging, LARGE)
    with pytest.raises(Rejected) as caught:
        await read_one(staging, LARGE)
    assert caught.value.problem is Problem.UNAVAILABLE
    assert "Retry-After" in caught.value.headers
    assert len(staged(tmp_path)) == 1
    first.discard()
    (await read_one(staging, LARGE)).discard()


@pytest.mark.asyncio
async def test_a_reserve_of_the_disk_stays_free(tmp_path: Path) -> None:
    with pytest.raises(Rejected) as caught:
        await read_one(Staging(tmp_path, free_bytes_min=2**62), LARGE)
    assert caught.value.problem is Problem.UNAVAILABLE
    assert staged(tmp_path) == []


@pytest.mark.asyncio
async def test_a_directory_that_cannot_be_written_is_an_outage(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Rejected) as caught:
        await read_one(Staging(tmp_path / "file"), LARGE)
    assert caught.value.problem is Problem.UNAVAILABLE


@pytest.mark.asyncio
async def test_a_start_removes_what_a_dead_gateway_left_and_a_living_one_keeps_its_files(
    tmp_path: Path,
) -> None:
    program = (
        "import os, pathlib, sys; from gateway.staging import Staging;"
        "Staging(pathlib.Path(sys.argv[1])).new_path().touch(); os._exit(9)"
    )
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", program, str(tmp_path)])
    [left] = staged(tmp_path)
    living = Staging(tmp_path)
    kept = await read_one(living, LARGE)
    Staging(tmp_path).clean()
    assert not left.parent.exists()
    assert len(await content(kept)) == kept.size
    living.close()
    assert entries(tmp_path) == []


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("disposition", "filename"),
    [
        ('name=f; filename="../../x"', "../../x"),
        (r'name=f; filename="C:\x"', r"C:\x"),
        ('name=f; filename="a%22b%0D%0A%00.txt"', 'a"b\r\n%00.txt'),
        ('name=f; filename="é你.txt"', "é你.txt"),
        ("name=f; filename=\"a.txt\"; filename*=UTF-8''na%C3%AFve.txt", "naïve.txt"),
        ("name=f; filename*=utf-8'en'%e2%82%ac", "€"),
        ("name=f; filename*=iso-8859-1''%A3", "£"),
        ("name=f; filename=a; filename*=UTF-8''%FF", "a"),
        ("name=f; filename=a; filename*=klingon''b", "a"),
        ("name=f; filename*=plain", "plain"),
        ('name=f; filename=""', ""),
    ],
)
async def test_the_name_of_a_file(staging: Staging, disposition: str, filename: str) -> None:
    upload = await read_one(staging, part(disposition, b"v"))
    assert (upload.field, upload.filename) == ("f", filename)


@pytest.mark.asyncio
async def test_a_file_name_in_another_charset_spoils_no_text(staging: Staging) -> None:
    body = (
        part('name="é"', "ü".encode())
        + b'--B\r\nContent-Disposition: form-data; name=f; filename="'
    )
    body += b'\xe9"\r\n\r\nv\r\n'
    form = await read(staging, [body, CLOSE])
    assert form.fields == {"é": "ü"}
    assert form.files[0].filename == "é"
    assert form.charset_guessed


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("declared", "kept"),
    [
        ("image/PNG", "image/png"),
        ("text/html; charset=utf-7", "text/html"),
        ("multipart/related; boundary=x", "multipart/related"),
        ("", "application/octet-stream"),
        ("png", "application/octet-stream"),
        ("a/b/c", "application/octet-stream"),
        ("té/xt", "application/octet-stream"),
        ("a/" + "b" * 254, "application/octet-stream"),
    ],
)
async def test_the_declared_type_of_a_file_is_kept_if_it_is_one(
    staging: Staging, declared: str, kept: str
) -> None:
    assert (await read_one(staging, part(kind=declared))).content_type == kept


@pytest.mark.asyncio
async def test_an_input_left_empty_is_no_file(staging: Staging) -> None:
    chunks = [*[part('name=f; filename=""')] * 20, part("name=a", b"1"), CLOSE]
    body = await read(staging, chunks)
    assert (body.fields, body.files) == ({"a": "1"}, ())


async def uploads_of(staging: Staging, *values: bytes, file_bytes: int = MIB) -> tuple[Upload, ...]:
    chunks = [*[part(value=value) for value in values], CLOSE]
    return (await read(staging, chunks, BodyLimits(file_bytes=file_bytes))).files


@pytest.mark.asyncio
async def test_a_form_without_uploads_takes_no_file(staging: Staging) -> None:
    check_uploads((), 0)
    with pytest.raises(Rejected) as caught:
        check_uploads(await uploads_of(staging, b"", file_bytes=0), 0)
    assert caught.value.problem is Problem.UPLOADS_NOT_ALLOWED


@pytest.mark.asyncio
async def test_the_refusal_of_a_large_file_names_it_and_the_limit(staging: Staging) -> None:
    check_uploads(await uploads_of(staging, b"12345", file_bytes=5), 5)
    with pytest.raises(Rejected) as caught:
        check_uploads(await uploads_of(staging, b"1", b"123456", file_bytes=5), 5)
    assert caught.value.problem is Problem.FILE_TOO_LARGE
    assert caught.value.detail == 'The file "x.bin" is larger than 5 bytes.'
    assert caught.value.members == {"limit": 5}


class Store(httpx.AsyncBaseTransport):
    """The backend's route for files; ``faults`` befall the first requests."""

    def __init__(self, *faults: Exception | int) -> None:
        self.faults = list(faults)
        self.objects: dict[str, bytes] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.AsyncByteStream)
        content = b""
        async for chunk in request.stream:
            content += chunk
            fault = self.faults.pop(0) if self.faults else None
            if isinstance(fault, Exception):
                raise fault
            if fault is not None:
                return httpx.Response(fault, request=request)
        assert request.headers["content-length"] == str(len(content))
        assert request.headers["x-content-sha256"] == hashlib.sha256(content).hexdigest()
        self.objects[request.url.raw_path.decode()] = content
        return httpx.Response(200, request=request)


async def put(store: Store, uploads: tuple[Upload, ...]) -> tuple[StoredFile, ...]:
    upstream = Upstream("http://backend", "token", store)
    try:
        files = name_files("frm_1", "sub_1", NOW_MS, uploads)
        await send_files(upstream, files, uploads)
        return files
    finally:
        await upstream.close()


@pytest.mark.asyncio
async def test_files_are_stored_in_their_order(staging: Staging) -> None:
    values = [b"%d" % index * 100_000 for index in range(6)]
    store = Store()
    files = await put(store, await uploads_of(staging, *values))
    assert [file.object_key for file in files] == [
        f"frm_1/2026/05/sub_1/{index}-x.bin" for index in range(6)
    ]
    assert [file.sha256 for file in files] == [hashlib.sha256(v).hexdigest() for v in values]
    assert [store.objects[f"/internal/v1/files/{file.object_key}"] for file in files] == values
    assert files[0].id.startswith("fil_")
    assert files[0].content_type == "application/octet-stream"


@pytest.mark.asyncio
async def test_a_name_is_percent_encoded_on_its_way(staging: Staging) -> None:
    store = Store()
    upload = await read_one(staging, part('name=f; filename="a b#%2F?é"', b"v"))
    [file] = await put(store, (upload,))
    assert file.name == "a b#%2F?é"
    assert list(store.objects) == [
        "/internal/v1/files/frm_1/2026/05/sub_1/0-a%20b%23%252F%3F%C3%A9"
    ]


@pytest.mark.asyncio
@pytest.mark.parametrize("size", [10, 200_000])
async def test_a_broken_connection_is_tried_once_more_from_the_start(
    staging: Staging, size: int
) -> None:
    store = Store(httpx.WriteError("reset"))
    uploads = await uploads_of(staging, b"x" * size)
    await put(store, uploads)
    assert [len(content) for content in store.objects.values()] == [size]
    with pytest.raises(UpstreamUnavailable):
        await put(Store(httpx.WriteError("reset"), httpx.WriteError("reset")), uploads)


@pytest.mark.asyncio
async def test_one_file_that_cannot_be_stored_fails_them_all(staging: Staging) -> None:
    with pytest.raises(UpstreamUnavailable):
        await put(Store(503), await uploads_of(staging, b"a", b"b"))
