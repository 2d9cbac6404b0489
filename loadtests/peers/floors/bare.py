"""The floor ``bare``: httptools on uvloop, and nothing else that HTTP can do without."""

import asyncio
import sys
from typing import cast

import httptools
import uvloop

_ANSWER = (
    b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{"ok":true}'
)


class Connection(asyncio.Protocol):
    """One connection; the callbacks of asyncio and of httptools meet here."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """asyncio's."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._close()

    def on_message_complete(self) -> None:
        """httptools'."""
        if self._transport is not None:
            self._transport.write(_ANSWER)
        if not self._parser.should_keep_alive():
            self._close()

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()


async def serve(port: int) -> None:
    """Answers on 127.0.0.1 until the process is stopped."""
    loop = asyncio.get_running_loop()
    async with await loop.create_server(Connection, "127.0.0.1", port) as server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
