"""Hostile bytes over the wire: whatever a client sends is answered in time, and never by a 5xx.

``FUZZ_REQUESTS`` and ``FUZZ_SEED`` change the size and the seed of the run.
"""

import asyncio
import os
import random
from collections import Counter
from contextlib import suppress
from pathlib import Path

from tests.support.fleet import Fleet, resident_bytes, running_fleet

REQUESTS = int(os.environ.get("FUZZ_REQUESTS", "50000"))
SEED = int(os.environ.get("FUZZ_SEED", "20261120"))
CONNECTIONS = 16
ANSWER_SECONDS = 20.0
MEMORY_GROWTH_MAX = 64 * 1024 * 1024

BOUNDARY = b"----FormBoundary7MA4YWxkTrZu0gW"
SEEDS = [
    (b"application/x-www-form-urlencoded", b"email=ada%40example.com&message=Hello+world&n=1&n=2"),
    (b"application/x-www-form-urlencoded", b"_charset_=windows-1252&city=K%F6ln&_gotcha=&_next=/"),
    (b"application/json", b'{"email":"ada@example.com","n":[1,2.50,{"a":null}],"ok":true}'),
    (
        b"application/json",
        '{"text":"Grüße \\u0000 \\ud83d\\ude00","big":12345678901234567890}'.encode(),
    ),
    (
        b"multipart/form-data; boundary=" + BOUNDARY,
        b'--%s\r\nContent-Disposition: form-data; name="email"\r\n\r\nada@example.com\r\n'
        b'--%s\r\nContent-Disposition: form-data; name="cv"; filename="cv.pdf"\r\n'
        b"Content-Type: application/pdf\r\n\r\n%%PDF-1.4\r\n--%s--\r\n" % ((BOUNDARY,) * 3),
    ),
    (
        b"multipart/form-data; boundary=" + BOUNDARY,
        b"--%s\r\nContent-Disposition: form-data; name=\"a\"; filename*=UTF-8''%%c3%%a4.txt\r\n\r\n"
        b"x\r\n--%s--\r\n" % ((BOUNDARY,) * 2),
    ),
]
TOKENS = [
    *(bytes([value]) for value in (0, 9, 10, 13, 0x22, 0x25, 0x26, 0x3B, 0x3D, 0x5C, 0x7F, 0xFF)),
    b"\r\n",
    b"\r\n\r\n",
    b"--" + BOUNDARY,
    b"--" + BOUNDARY + b"--",
    b"&" * 300,
    b"[" * 200,
    b"%00",
    b"%zz",
    b"\\u0000",
    b"\\ud800",
    b"NaN",
    b"1e999",
    b"\xef\xbb\xbf",
    b"=",
    b'"',
    b'"__proto__":1,',
    b"\xc3\x28",
    b"A" * 5_000,
]
HEADERS = [
    b"Content-Encoding: gzip",
    b"Transfer-Encoding: chunked",
    b"Content-Length: 3",
    b"Idempotency-Key: same",
    b"Idempotency-Key: \xff",
    b"Authorization: Bearer ff_sub_x",
    b"Accept: text/html",
    b"Origin: null",
    b"X-Forwarded-For: 1.2.3.4, , ::",
    b"Host: other",
    b"Expect: 100-continue",
    b"Referer: \x01",
    b"Connection: close",
    b" folded: header",
    b"Bad Header",
    b"Content-Type: text/plain; charset=\xff",
    b"X: " + b"y" * 9_000,
]


def test_no_bytes_a_client_can_send_make_a_5xx_or_a_hang(tmp_path: Path) -> None:
    with running_fleet(tmp_path, gateways=1) as fleet:
        with fleet.manager() as manager:
            form = f"/v1/forms/{fleet.first['demo_form_id']}"
            manager.patch(form, json={"rate_limit_per_minute": 100_000}).raise_for_status()
        asyncio.run(fuzz(fleet, REQUESTS // 10, SEED))
        before = resident_bytes(fleet.pid("gateway-0"))
        statuses = asyncio.run(fuzz(fleet, REQUESTS, SEED + 1))
        grown = resident_bytes(fleet.pid("gateway-0")) - before
        assert sum(statuses.values()) == REQUESTS, statuses
        assert not [status for status in statuses if status >= 500], (SEED, statuses)
        assert {200, 400} <= statuses.keys(), statuses
        assert grown < MEMORY_GROWTH_MAX
        assert '"level":"error"' not in fleet.log("gateway-0"), fleet.log("gateway-0")[-3000:]
        assert '"level":"error"' not in fleet.log("backend"), fleet.log("backend")[-3000:]


async def fuzz(fleet: Fleet, requests: int, seed: int) -> Counter[int]:
    """The statuses of that many hostile requests; 0 where the connection was closed instead."""
    host, port = fleet.gateways[0].removeprefix("http://").split(":")
    statuses: Counter[int] = Counter()
    counts = [requests // CONNECTIONS + (n < requests % CONNECTIONS) for n in range(CONNECTIONS)]

    async def client(number: int, count: int) -> None:
        chance = random.Random(seed * CONNECTIONS + number)
        connection = None
        for _ in range(count):
            request = hostile_request(chance)
            async with asyncio.timeout(ANSWER_SECONDS):
                connection = connection or await asyncio.open_connection(host, int(port))
                status, is_open = await exchange(*connection, request)
            statuses[status] += 1
            if not is_open:
                await close(connection[1])
                connection = None
        if connection is not None:
            await close(connection[1])

    await asyncio.gather(*(client(*pair) for pair in enumerate(counts)))
    return statuses


def hostile_request(chance: random.Random) -> bytes:
    """A valid request with some of its body, its framing or its headers spoiled."""
    media_type, body = chance.choice(SEEDS)
    for _ in range(chance.randrange(5)):
        body = mutated(chance, body)
    headers = [b"Host: x", b"Content-Type: " + media_type, b"Content-Length: %d" % len(body)]
    if chance.random() < 0.1:
        headers.insert(chance.randrange(len(headers) + 1), chance.choice(HEADERS))
    if chance.random() < 0.05:
        headers[1] = mutated(chance, headers[1])
    if chance.random() < 0.02:
        headers[0] = mutated(chance, headers[0])
    method = (
        b"POST" if chance.random() < 0.98 else chance.choice([b"PUT", b"GET", b"OPTIONS", b"X"])
    )
    path = b"/v1/f/demo" if chance.random() < 0.98 else mutated(chance, b"/v1/f/demo")
    return b"%s %s HTTP/1.1\r\n%s\r\n\r\n%s" % (method, path, b"\r\n".join(headers), body)


def mutated(chance: random.Random, data: bytes) -> bytes:
    """``data`` with one change."""
    at = chance.randrange(len(data) + 1)
    to = min(len(data), at + chance.randrange(1, 20))
    kind = chance.randrange(6)
    if kind == 0:
        return data[:at] + chance.choice(TOKENS) + data[at:]
    if kind == 1:
        return data[:at] + data[to:]
    if kind == 2:
        return data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]
    if kind == 3:
        return data[:at] + data[at:to] * chance.randrange(2, 30) + data[to:]
    if kind == 4:
        return data[:at]
    return data[:at] + chance.randbytes(to - at) + data[to:]


async def exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
) -> tuple[int, bool]:
    """Sends a request, half-closes if the server may wait for more, and reads one answer.

    Returns its status, 0 if the server closed without one, and whether the connection is usable.
    """
    try:
        writer.write(request)
        await writer.drain()
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 1.0)
        except TimeoutError:
            # A spoiled length made the server wait for the rest: there is none.
            writer.write_eof()
            head = await reader.readuntil(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        if status == 100:
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head.split(b" ", 2)[1])
        length = _length(head)
        await reader.readexactly(length)
    except (ConnectionError, asyncio.IncompleteReadError, BrokenPipeError):
        return 0, False
    return status, b"connection: close" not in head.lower() and status < 400


async def close(writer: asyncio.StreamWriter) -> None:
    """Closes a connection, which the server may have reset."""
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0
