"""An HTTP transport to an ASGI app of this process that streams both ways.

httpx's own collects an answer whole before it hands out the first byte, which an export of a large
form must not.
"""

import asyncio
from collections.abc import AsyncIterator

import httpx
from starlette.types import ASGIApp, Message, Scope

_CHUNKS_AHEAD = 4


class InProcessTransport(httpx.AsyncBaseTransport):
    """Each request runs the app in a task of its own, which waits while nobody reads."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See httpx. What the app raises before it answers is raised here."""
        if not isinstance(request.stream, httpx.AsyncByteStream):
            raise httpx.UnsupportedProtocol("the body of the request cannot be read asynchronously")
        exchange = _Exchange(self._app, _scope(request), aiter(request.stream))
        status, headers = await exchange.head()
        return httpx.Response(status, headers=headers, stream=exchange)


class _Exchange(httpx.AsyncByteStream):
    """One request, whose body is read as the app asks for it, and the chunks of its answer."""

    def __init__(self, app: ASGIApp, scope: Scope, body: AsyncIterator[bytes]) -> None:
        self._body = body
        self._is_read = False
        self._messages: asyncio.Queue[Message | None] = asyncio.Queue(_CHUNKS_AHEAD)
        self._gone = asyncio.Event()
        self._running = asyncio.create_task(self._run(app, scope))

    async def head(self) -> tuple[int, list[tuple[bytes, bytes]]]:
        """Status and headers."""
        message = await self._messages.get()
        if message is None:
            await self._running
            raise httpx.RemoteProtocolError("the app did not answer")
        return message["status"], list(message["headers"])

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (message := await self._messages.get()) is not None:
            yield message.get("body", b"")
        await self._running

    async def aclose(self) -> None:
        """Ends the request, answered or not."""
        self._gone.set()
        self._running.cancel()
        await asyncio.wait([self._running])

    async def _run(self, app: ASGIApp, scope: Scope) -> None:
        try:
            await app(scope, self._receive, self._messages.put)
        except Exception:
            await self._messages.put(None)
            raise
        await self._messages.put(None)

    async def _receive(self) -> Message:
        if not self._is_read:
            chunk = await anext(self._body, None)
            self._is_read = chunk is None
            return {"type": "http.request", "body": chunk or b"", "more_body": not self._is_read}
        await self._gone.wait()
        return {"type": "http.disconnect"}


def _scope(request: httpx.Request) -> Scope:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "scheme": request.url.scheme,
        "path": request.url.path,
        "raw_path": request.url.raw_path.partition(b"?")[0],
        "query_string": request.url.query,
        "server": (request.url.host, request.url.port),
        "client": None,
        "root_path": "",
    }
