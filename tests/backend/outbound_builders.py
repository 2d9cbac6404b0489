"""Targets of outgoing calls on real ports of this machine, and clients that may or may not reach
them."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from backend.outbound.client import OutboundClient
from backend.outbound.lookups import Resolve
from contracts.runtime.settings import load_settings

LOOPBACK = "127.0.0.0/8,::1/128"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Sink:
    """A target that counts its connections, open ones and all there were, and keeps the heads and
    the bodies of requests."""

    port: int = 0
    hits: int = 0
    open: int = 0
    heads: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def url(self, host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}/hook?a=1"

    async def idle(self) -> None:
        """Waits until the other side has closed every connection."""
        async with asyncio.timeout(20):
            while self.open:
                await asyncio.sleep(0.01)

    async def _request(self, reader: asyncio.StreamReader) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length:")
        )
        self.heads.append(head)
        self.bodies.append(await reader.readexactly(length))


@asynccontextmanager
async def sink(
    behaviour: Behaviour,
    *,
    host: str = "127.0.0.1",
    tls: ssl.SSLContext | None = None,
    reads_request: bool = True,
) -> AsyncIterator[Sink]:
    """A target that listens on ``host``; at the end, what is still open is closed."""
    this = Sink()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        this.hits += 1
        this.open += 1
        try:
            if reads_request:
                await this._request(reader)
            await behaviour(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            this.open -= 1
            writer.close()

    server = await asyncio.start_server(serve, host, 0, ssl=tls)
    this.port = server.sockets[0].getsockname()[1]
    async with server:
        yield this


def answering(answer: bytes) -> Behaviour:
    """Sends the bytes and closes the connection."""

    async def behaviour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    return behaviour


def repeating(start: bytes, part: bytes, pause_seconds: float = 0.0) -> Behaviour:
    """Sends ``start``, then ``part`` for as long as anybody is there to read it."""

    async def behaviour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        gone = asyncio.create_task(reader.read())
        try:
            while not gone.done():
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(pause_seconds)
        finally:
            await asyncio.gather(gone, return_exceptions=True)

    return behaviour


async def hanging(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says nothing until the other side is gone."""
    await reader.read()


def client(
    resolve: Resolve | Sequence[str] = (),
    *,
    cidrs: str = "",
    allow_http: bool = True,
    tls: ssl.SSLContext | None = None,
) -> OutboundClient:
    """A client for which names lead where ``resolve`` says, or all to the same addresses."""
    settings = load_settings(environ={}, webhook_allow_http=allow_http, webhook_allow_cidrs=cidrs)
    look_up = resolve if callable(resolve) else lambda host: resolve
    return OutboundClient(settings, look_up, tls)


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
