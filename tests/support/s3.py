"""An S3 server in this process, and a proxy before it that spoils what goes through."""

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal

Fault = Literal["500", "403", "lost-answer", "hang"]


@contextmanager
def s3_server() -> Iterator[str]:
    """The URL of an S3 server that keeps its objects in memory."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@dataclass
class S3Proxy:
    """Relays to the server. Assign to its switches at any time; ``methods`` counts requests."""

    server: tuple[str, int]
    url: str = ""
    fault: Fault | None = None
    # So many requests meet it, those of every method together.
    faults_left: float = math.inf
    methods: Counter[str] = field(default_factory=Counter)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, which is for one request."""
        try:
            with suppress(OSError, EOFError):
                await self._answer(reader, writer)
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        request_line, *lines = head[:-4].split(b"\r\n")
        fields = [line.split(b":", 1) for line in lines]
        headers = {name.lower(): value.strip() for name, value in fields}
        body = await reader.readexactly(int(headers.get(b"content-length", b"0")))
        self.methods[request_line.split(b" ")[0].decode()] += 1
        self.faults_left -= 1
        fault = self.fault if self.faults_left >= 0 else None
        if fault == "hang":
            await reader.read()
            return
        if fault in ("500", "403"):
            status = f"HTTP/1.1 {fault} Spoilt\r\nContent-Length: 0\r\n"
            writer.write(f"{status}Connection: close\r\n\r\n".encode())
            await writer.drain()
            return
        # The server's connection ends with its answer.
        kept = [line for line in lines if not line.lower().startswith(b"connection:")]
        message = b"\r\n".join([request_line, *kept, b"Connection: close"]) + b"\r\n\r\n" + body
        answer = await self._relay(message)
        if fault != "lost-answer":
            writer.write(answer)
            await writer.drain()

    async def _relay(self, message: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(*self.server)
        try:
            writer.write(message)
            return await reader.read()
        finally:
            writer.close()


@asynccontextmanager
async def s3_proxy(server_url: str) -> AsyncIterator[S3Proxy]:
    """A listening proxy."""
    host, _, port = server_url.removeprefix("http://").rpartition(":")
    proxy = S3Proxy((host, int(port)))
    connections: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(proxy.serve(reader, writer))
        connections.add(task)
        task.add_done_callback(connections.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=2**20)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        for task in list(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


def bucket_environment(url: str) -> dict[str, str]:
    """The variables by which the product finds a bucket there."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "an-id",
        "AWS_SECRET_ACCESS_KEY": "a-secret",
    }
