"""Passes every path that is not the gateway's own to the backend, streaming both ways."""

import posixpath
from collections.abc import AsyncIterator, Iterable
from urllib.parse import unquote

import httpx
from starlette.types import Receive, Scope, Send

from contracts.addresses import ClientAddress
from contracts.internal import FORWARDED_BY, forwarding_proof
from contracts.problems import Problem, Rejected
from contracts.runtime.endpoints import parse_peer
from gateway.upstream import NOT_SENT

# RFC 9110, 7.6.1: these concern one connection only.
_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
_FORWARDING = frozenset(
    {
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
        FORWARDED_BY,
    }
)
# The server in front adds its own.
_OURS = frozenset({b"date"})
_TIMEOUT = httpx.Timeout(60.0, connect=2.0, pool=5.0)


class Passthrough:
    """An ASGI app that answers with what the backend answers."""

    def __init__(
        self,
        url: str,
        client_address: ClientAddress,
        token: str,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """``url`` is what FORMFLOW_BACKEND_URL says; ``transport`` replaces the network. The
        internal ``token`` lets the backend believe whose request it is."""
        backend = parse_peer(url)
        self._proof = forwarding_proof(token)
        self._base_url = httpx.URL(backend.origin)
        self._client_address = client_address
        self._client = httpx.AsyncClient(
            transport=transport
            or httpx.AsyncHTTPTransport(uds=backend.socket_path, trust_env=False),
            timeout=_TIMEOUT,
            trust_env=False,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request. Raises Rejected if it may not pass or the backend is away."""
        check_public(scope["raw_path"])
        request = self._client.build_request(
            scope["method"],
            self._target(scope),
            headers=self._request_headers(scope),
            content=_stream(receive) if _has_body(scope) else None,
        )
        try:
            response = await self._client.send(request, stream=True)
        except NOT_SENT as error:
            raise Rejected(
                Problem.UNAVAILABLE,
                "The management service cannot be reached right now. Try again in a moment.",
                headers={"Retry-After": "5"},
            ) from error
        try:
            await _relay(response, send)
        finally:
            await response.aclose()

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()

    def _target(self, scope: Scope) -> httpx.URL:
        query = scope["query_string"]
        path: bytes = scope["raw_path"].partition(b"?")[0]
        try:
            return self._base_url.copy_with(raw_path=path + b"?" + query if query else path)
        except (httpx.InvalidURL, UnicodeDecodeError):
            raise _nothing_here() from None

    def _request_headers(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        sent: dict[bytes, bytes] = dict(scope["headers"])
        headers = _end_to_end(scope["headers"], _FORWARDING)
        return [
            *headers,
            (FORWARDED_BY, self._proof),
            (b"x-forwarded-for", self._client_address.of_scope(scope).encode()),
            (b"x-forwarded-host", sent.get(b"host", b"")),
            (b"x-forwarded-proto", scope["scheme"].encode()),
        ]


def check_public(raw_path: bytes) -> None:
    """The internal surface is not reached from outside, however it is spelled. Raises Rejected."""
    path = raw_path.decode("latin-1").partition("?")[0]
    for _ in range(4):
        decoded = unquote(path).replace("\\", "/")
        if decoded == path:
            break
        path = decoded
    if posixpath.normpath("/" + path.lstrip("/")).lower().split("/")[1] == "internal":
        raise _nothing_here()


def _nothing_here() -> Rejected:
    return Rejected(Problem.NOT_FOUND, "There is nothing at this address.")


def _has_body(scope: Scope) -> bool:
    return any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"])


async def _stream(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise httpx.ReadError("the client went away before its body was whole")
        yield message.get("body", b"")
        if not message.get("more_body", False):
            return


async def _relay(response: httpx.Response, send: Send) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": response.status_code,
            "headers": _end_to_end(response.headers.raw, _OURS),
        }
    )
    async for chunk in response.aiter_raw():
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _end_to_end(
    headers: Iterable[tuple[bytes, bytes]], without: frozenset[bytes] = frozenset()
) -> list[tuple[bytes, bytes]]:
    pairs = [(name.lower(), value) for name, value in headers]
    named = {
        token.strip().lower()
        for name, value in pairs
        if name == b"connection"
        for token in value.split(b",")
    }
    left_out = _HOP_BY_HOP | named | without
    return [(name, value) for name, value in pairs if name not in left_out]
