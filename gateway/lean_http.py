"""A small HTTP/1.1 client for the stream of batches to the backend.

httpx costs about as much CPU a batch as everything else that a gateway does for its posts. This
does what the stream needs and nothing else: POSTs of whole bodies to one origin over keep-alive
connections, one request at a time on each, answers parsed by httptools. Everything that is not a
batch, of submissions or of small files, goes through httpx.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import cast
from urllib.parse import urlsplit

import httptools

# What is lower only announces an answer (RFC 9110, 15.2).
_FINAL = 200


class BrokenConnection(ConnectionError):
    """The connection ended before the answer did: the request may or may not have arrived."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    body: bytes


class LeanClient:
    """POSTs to one ``http://`` origin, by TCP or by a Unix socket.

    As many connections are open as requests were under way at once; the callers bound that.
    """

    def __init__(
        self, origin: str, headers: dict[str, str], socket_path: str | None = None
    ) -> None:
        """``headers`` go with every request. A ``socket_path`` leads to the origin's server."""
        parts = urlsplit(origin)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._socket_path = socket_path
        lines = {"Host": parts.netloc} | headers
        self._head = "".join(f"{name}: {value}\r\n" for name, value in lines.items()).encode()
        self._idle: list[_Connection] = []
        self._open: set[_Connection] = set()

    async def post(
        self, path: str, body: bytes, timeout_seconds: float, content_type: str = "application/json"
    ) -> Answer:
        """The answer to one request.

        Raises:
            BrokenConnection: the connection ended before its answer.
            OSError: there is no connection to be had.
            TimeoutError: all in all it took too long.
        """
        start = f"POST {path} HTTP/1.1\r\nContent-Type: {content_type}\r\n".encode("ascii")
        request = b"%s%sContent-Length: %d\r\n\r\n%s" % (start, self._head, len(body), body)
        async with asyncio.timeout(timeout_seconds):
            connection = self._idle.pop() if self._idle else await self._connect()
            try:
                answer = await connection.exchange(request)
            except BaseException:
                # Its answer may still come: nobody else may read it as theirs.
                connection.abort()
                raise
        if connection.is_usable:
            self._idle.append(connection)
        return answer

    async def close(self) -> None:
        """Closes every connection."""
        for connection in list(self._open):
            connection.abort()
        self._idle.clear()

    async def _connect(self) -> "_Connection":
        loop = asyncio.get_running_loop()
        make = partial(_Connection, self._forget)
        if self._socket_path is not None:
            _, connection = await loop.create_unix_connection(make, self._socket_path)
        else:
            _, connection = await loop.create_connection(make, self._host, self._port)
        self._open.add(connection)
        return connection

    def _forget(self, connection: "_Connection") -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)


class _Connection(asyncio.Protocol):
    """One connection; the callbacks of asyncio and of httptools meet here."""

    def __init__(self, on_lost: Callable[["_Connection"], None]) -> None:
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[Answer] | None = None
        self._body: list[bytes] = []
        self._parser = httptools.HttpResponseParser(self)
        self.is_usable = False

    async def exchange(self, request: bytes) -> Answer:
        """Sends a request and waits for its answer. Raises BrokenConnection."""
        if self._transport is None or self._transport.is_closing():
            raise BrokenConnection("the connection was closed while it was idle")
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._waiting

    def abort(self) -> None:
        """Closes the connection at once."""
        self.is_usable = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's."""
        # Not asked by isinstance: uvloop's transports are none of asyncio's classes.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """asyncio's."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(BrokenConnection(f"not an HTTP answer: {error}"))
            self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        """asyncio's."""
        self.is_usable = False
        self._fail(BrokenConnection(str(error) if error else "closed by the other side"))
        self._on_lost(self)

    def on_body(self, body: bytes) -> None:
        """httptools'."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """httptools'."""
        status = self._parser.get_status_code()
        if status < _FINAL:
            return
        answer = Answer(status, b"".join(self._body))
        self.is_usable = self._parser.should_keep_alive()
        self._body = []
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(answer)
        if not self.is_usable:
            self.abort()

    def _fail(self, error: BrokenConnection) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)
