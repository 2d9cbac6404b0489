"""A receiver of webhooks on a real port of 127.0.0.1, in the test's own event loop."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import orjson


@dataclass(frozen=True)
class Received:
    """A request as it came; names of headers are in lower case."""

    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """What the body says."""
        return orjson.loads(self.body)


@dataclass
class WebhookSink:
    """The receiver. Assign to ``status`` and ``answer`` at any time."""

    url: str = ""
    status: int = 200
    answer: bytes = b"thank you"
    received: list[Received] = field(default_factory=list)

    @property
    def last(self) -> Received:
        """The last request."""
        return self.received[-1]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers one request."""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
            first, *lines = head.split("\r\n")[:-2]
            headers = {name.lower(): value for name, value in (line.split(": ") for line in lines)}
            body = await reader.readexactly(int(headers["content-length"]))
            self.received.append(Received(first.split(" ")[1], headers, body))
            length = len(self.answer)
            writer.write(f"HTTP/1.1 {self.status} X\r\nContent-Length: {length}\r\n\r\n".encode())
            writer.write(self.answer)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def webhook_sink() -> AsyncIterator[WebhookSink]:
    """A receiver that listens while the block runs."""
    sink = WebhookSink()
    server = await asyncio.start_server(sink.serve, "127.0.0.1", 0)
    sink.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    async with server:
        yield sink
