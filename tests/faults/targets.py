"""Targets of webhooks: one server that behaves as the path says, and keeps what it was sent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import orjson

_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
_BAD = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
# Every so many requests to ``/moody`` fail in one way or the other.
_MOODS = 4


@dataclass(frozen=True, slots=True)
class Received:
    """One request: the marker in the submission's payload, the delivery's id, its attempt, whether
    it was acknowledged, and when it came (monotonic)."""

    marker: str
    delivery_id: str
    attempt: int
    is_acknowledged: bool
    at: float


@dataclass
class Targets:
    """``/good`` acknowledges, ``/hang`` never answers, ``/moody`` does as it likes: acknowledges,
    fails, breaks off, or acknowledges without the answer getting through."""

    url: str = ""
    received: list[Received] = field(default_factory=list)
    hanging: int = 0
    _count: int = 0
    _open: set[asyncio.StreamWriter] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, which is for one request."""
        self._open.add(writer)
        try:
            with suppress(OSError, EOFError, asyncio.LimitOverrunError):
                await self._answer(reader, writer)
        finally:
            writer.close()
            self._open.discard(writer)

    async def end(self) -> None:
        """Breaks off what still hangs."""
        for writer in self._open:
            writer.transport.abort()
        while self._open:
            await asyncio.sleep(0.01)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        request_line, *lines = head.split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        body = await reader.readexactly(int(headers["content-length"]))
        path = request_line.split(" ")[1]
        if path == "/hang":
            self.hanging += 1
            await reader.read()
            return
        self._count += 1
        mood = self._count % _MOODS if path == "/moody" else 0
        self._note(body, headers, is_acknowledged=mood in (0, 3))
        if mood in (0, 1):
            writer.write(_BAD if mood else _OK)
            await writer.drain()

    def _note(self, body: bytes, headers: dict[str, str], *, is_acknowledged: bool) -> None:
        document = orjson.loads(body)
        self.received.append(
            Received(
                document["data"]["payload"]["n"],
                headers["x-formflow-delivery"],
                int(headers["x-formflow-attempt"]),
                is_acknowledged,
                asyncio.get_running_loop().time(),
            )
        )


@asynccontextmanager
async def targets() -> AsyncIterator[Targets]:
    """A listening server."""
    found = Targets()
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0, backlog=1024)
    found.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield found
    finally:
        server.close()
        await found.end()
