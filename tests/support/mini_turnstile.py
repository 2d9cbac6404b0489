"""A small stand-in for Cloudflare's siteverify on a real port, with switches for what can go wrong.

It behaves as documented: a token is good once, unless it comes again with the ``idempotency_key``
of its first time; Cloudflare's dummy secrets always pass, always fail or always say "used".
"""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from contracts.runtime.listening import listen
from tests.support.misbehaving import Endless, Late, disconnected

PATH = "/turnstile/v0/siteverify"
SECRET = "0x4AAAAAAA-a-secret-for-tests"
DUMMY_TOKEN = "XXXX.DUMMY.TOKEN.XXXX"
_DUMMY_CODES = {
    "1x0000000000000000000000000000000AA": [],
    "2x0000000000000000000000000000000AA": ["invalid-input-response"],
    "3x0000000000000000000000000000000AA": ["timeout-or-duplicate"],
}


class Mode(Enum):
    """How a call is answered. HALF spends the token and drops the connection within the answer;
    the other faults spend nothing."""

    JUDGE = "judge"
    REFUSE = "refuse"
    SLOW = "slow"
    HANG = "hang"
    STATUS = "status"
    HTML = "html"
    RESET = "reset"
    HALF = "half"
    ENDLESS = "endless"
    REDIRECT = "redirect"


@dataclass(frozen=True)
class Call:
    """One call, as it came."""

    secret: str
    token: str
    client: str | None
    idempotency_key: str | None


@dataclass
class MiniTurnstile:
    """The stand-in. Assign to its switches at any time; ``script`` is for the next calls, ``mode``
    for those after it."""

    url: str
    secrets: set[str] = field(default_factory=lambda: {SECRET})
    mode: Mode = Mode.JUDGE
    script: list[Mode] = field(default_factory=list)
    error_codes: list[str] = field(default_factory=lambda: ["invalid-input-response"])
    status: int = 500
    delay_seconds: float = 0.2
    calls: list[Call] = field(default_factory=list)
    redirected: int = 0
    _spent: dict[str, str | None] = field(default_factory=dict)
    _server: uvicorn.Server | None = None

    @property
    def tokens(self) -> list[str]:
        """The tokens of all calls, in order."""
        return [call.token for call in self.calls]

    def reset(self) -> None:
        """Forgets everything, switches included."""
        vars(self).update(vars(MiniTurnstile(self.url, _server=self._server)))

    async def siteverify(self, request: Request) -> Response:
        call = _call(await request.body())
        self.calls.append(call)
        mode = self.script.pop(0) if self.script else self.mode
        answer: Any = {
            Mode.REFUSE: lambda: _refusal(self.error_codes),
            Mode.SLOW: lambda: Late(self._judge(call), self.delay_seconds),
            Mode.HANG: lambda: Late(Response(), None),
            Mode.STATUS: lambda: _refusal(["internal-error"], self.status),
            Mode.HTML: lambda: HTMLResponse("<h1>Just a moment...</h1>"),
            Mode.RESET: lambda: _Cut(self._server, b"", resets=True),
            Mode.HALF: lambda: _Cut(self._server, bytes(self._judge(call).body)[:5], resets=False),
            Mode.ENDLESS: Endless,
            Mode.REDIRECT: lambda: RedirectResponse("/elsewhere", 307),
        }.get(mode, lambda: self._judge(call))
        response: Response = answer()
        return response

    async def elsewhere(self, request: Request) -> Response:
        self.redirected += 1
        return _success()

    def _judge(self, call: Call) -> Response:
        codes = _DUMMY_CODES.get(call.secret)
        if codes is None:
            codes = self._complaints(call)
        return _refusal(codes) if codes else _success()

    def _complaints(self, call: Call) -> list[str]:
        if not call.secret:
            return ["missing-input-secret"]
        if call.secret not in self.secrets:
            return ["invalid-input-secret"]
        if not call.token:
            return ["missing-input-response"]
        if call.token == DUMMY_TOKEN or len(call.token) > 2_048:
            return ["invalid-input-response"]
        if call.idempotency_key is not None and not _is_uuid(call.idempotency_key):
            return ["bad-request"]
        return self._spend(call.token, call.idempotency_key)

    def _spend(self, token: str, key: str | None) -> list[str]:
        if token not in self._spent:
            self._spent[token] = key
        elif key is None or self._spent[token] != key:
            return ["timeout-or-duplicate"]
        return []


@contextmanager
def running_turnstile() -> Iterator[MiniTurnstile]:
    """A stand-in that listens on a port of 127.0.0.1, on a thread of its own, until the end."""
    listener = listen("127.0.0.1", 0)
    stand_in = MiniTurnstile(f"http://127.0.0.1:{listener.getsockname()[1]}{PATH}")
    routes = [
        Route(PATH, stand_in.siteverify, methods=["POST"]),
        Route("/elsewhere", stand_in.elsewhere, methods=["GET", "POST"]),
    ]
    config = uvicorn.Config(
        Starlette(routes=routes), log_config=None, lifespan="off", timeout_graceful_shutdown=1
    )
    server = stand_in._server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield stand_in
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


class _Cut(Response):
    """Sends the beginning of an answer, then closes the connection, or resets it."""

    def __init__(self, server: uvicorn.Server | None, beginning: bytes, *, resets: bool) -> None:
        super().__init__(beginning, headers={"content-length": "100"})
        self._server = server
        self._resets = resets

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        transport = self._transport(scope)
        if self._resets:
            linger = struct.pack("ii", 1, 0)
            transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, linger
            )
            transport.abort()
        else:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": self.body, "more_body": True})
            transport.close()
        await disconnected(receive)

    def _transport(self, scope: Scope) -> Any:
        connections: Any = self._server.server_state.connections if self._server else ()
        return next(one.transport for one in connections if one.client == scope["client"])


def _call(body: bytes) -> Call:
    fields = dict(parse_qsl(body.decode("ascii"), keep_blank_values=True))
    return Call(
        secret=fields.get("secret", ""),
        token=fields.get("response", ""),
        client=fields.get("remoteip"),
        idempotency_key=fields.get("idempotency_key"),
    )


def _success() -> Response:
    return JSONResponse(
        {
            "success": True,
            "challenge_ts": "2026-06-10T10:23:00.000Z",
            "hostname": "example.com",
            "error-codes": [],
            "action": "",
            "cdata": "",
        }
    )


def _refusal(codes: list[str], status: int = 200) -> Response:
    return JSONResponse({"success": False, "error-codes": codes, "messages": []}, status)


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
