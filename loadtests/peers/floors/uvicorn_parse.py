"""The floor ``uvicorn-parse``: a raw ASGI callable that reads and parses the form, no more."""

from urllib.parse import parse_qsl

from starlette.types import Receive, Scope, Send

from loadtests.peers.floors import uvicorn_hello


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers every request, after its body was parsed."""
    parse_qsl((await _body(receive)).decode(), keep_blank_values=True)
    await uvicorn_hello.app(scope, receive, send)


async def _body(receive: Receive) -> bytes:
    chunks = []
    while True:
        message = await receive()
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(chunks)
