"""The floor ``uvicorn-hello``: a raw ASGI callable that answers without reading the body."""

from starlette.types import Receive, Scope, Send

_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", b"11")],
}
_BODY = {"type": "http.response.body", "body": b'{"ok":true}'}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers every request."""
    await send(_START)
    await send(_BODY)
