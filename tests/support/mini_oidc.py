"""A small OpenID Connect provider on a real port, with switches for what can go wrong.

It behaves as Core 1.0, Discovery 1.0, Back-Channel Logout 1.0 and RFC 7636 say: codes are good once
and only with their verifier, refresh tokens are replaced at every use and one that is used again
ends its family.
"""

import base64
import hashlib
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any
from urllib.parse import parse_qsl, unquote_plus, urlencode

import uvicorn
from joserfc.jwk import ECKey, Key
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from contracts.runtime.clock import Clock
from contracts.runtime.listening import listen
from tests.support.jose import encoded, signed
from tests.support.misbehaving import Endless, Late

CLIENT_ID = "formflow-client"
CLIENT_SECRET = "a secret: with/odd+characters%"
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"


class Mode(Enum):
    """How an endpoint answers."""

    GOOD = "good"
    STATUS = "status"
    HTML = "html"
    HANG = "hang"
    ENDLESS = "endless"
    REDIRECT = "redirect"
    COMPRESSED = "compressed"


@dataclass
class Login:
    """A session at the provider: of whom, and what was asked for."""

    sid: str
    subject: str
    nonce: str
    challenge: str
    redirect_uri: str
    scopes: list[str]
    is_over: bool = False


@dataclass
class MiniOidc:
    """The provider. Assign to its switches at any time.

    ``modes`` are those of endpoints by their names (``configuration``, ``jwks``, ``token``,
    ``userinfo``). ``metadata``, ``claims`` and ``given`` are merged into the metadata, ID tokens
    and what tokens come with; a None takes a member of the first two out. ``forge`` signs ID
    tokens instead; ``published`` are other keys than the one that it signs with.
    """

    issuer: str
    clock: Clock
    subject: str = "subject-1"
    email: str | None = "ada@example.com"
    email_verified: object = True
    email_in_userinfo: bool = False
    userinfo: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    claims: dict[str, Any] = field(default_factory=dict)
    header: dict[str, Any] = field(default_factory=dict)
    modes: dict[str, Mode] = field(default_factory=dict)
    status: int = 500
    given: dict[str, Any] = field(default_factory=dict)
    token_error: dict[str, Any] = field(default_factory=dict)
    names_itself: bool = True
    gives_refresh_tokens: bool = True
    secret: str | None = CLIENT_SECRET
    calls: list[str] = field(default_factory=list)
    queries: list[dict[str, str]] = field(default_factory=list)
    logins: dict[str, Login] = field(default_factory=dict)
    key: Key = field(default_factory=lambda: ECKey.generate_key("P-256", {"kid": "key-1"}))
    algorithm: str = "ES256"
    forge: Callable[[Mapping[str, Any]], str] | None = None
    published: list[Mapping[str, Any]] | None = None
    refreshed: int = 0
    _codes: dict[str, Login] = field(default_factory=dict)
    _refresh_tokens: dict[str, Login] = field(default_factory=dict)
    _access_tokens: dict[str, Login] = field(default_factory=dict)
    _spent: dict[str, Login] = field(default_factory=dict)

    def rotate(self, kid: str, key: Key | None = None, algorithm: str = "ES256") -> None:
        """Signs with another key from now on."""
        self.key = key or ECKey.generate_key("P-256", {"kid": kid})
        self.algorithm = algorithm

    def sign(self, claims: Mapping[str, Any], header: Mapping[str, Any] | None = None) -> str:
        """A token with the provider's signature."""
        whole = {"alg": self.algorithm, "kid": self.key.kid} | dict(header or {})
        return signed(whole, claims, self.key)

    def logout_token(self, login: Login | None = None, **claims: Any) -> str:
        """A logout token; a claim that is None is left out."""
        now = self.clock.now_ms() // 1000
        said = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 120,
            "jti": secrets.token_urlsafe(16),
            "events": {LOGOUT_EVENT: {}},
            "sub": login and login.subject,
            "sid": login and login.sid,
        } | claims
        kept = {name: value for name, value in said.items() if value is not None}
        return self.sign(kept, {"typ": "logout+jwt"})

    def end(self, login: Login) -> None:
        """Ends a session without telling anybody: its refresh tokens are refused from now on."""
        login.is_over = True

    async def configuration(self, request: Request) -> Response:
        document = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "jwks_uri": f"{self.issuer}/jwks",
            "end_session_endpoint": f"{self.issuer}/end-session?tenant=1",
            "scopes_supported": ["openid", "email", "profile", "offline_access"],
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [self.algorithm],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": self.names_itself,
            "backchannel_logout_supported": True,
            "backchannel_logout_session_supported": True,
        } | self.metadata
        kept = {name: value for name, value in document.items() if value is not None}
        return self._faulty("configuration") or JSONResponse(kept)

    async def jwks(self, request: Request) -> Response:
        keys = self.published
        if keys is None:
            keys = [self.key.as_dict(private=False)]
        return self._faulty("jwks") or JSONResponse({"keys": keys})

    async def authorize(self, request: Request) -> Response:
        """Signs ``subject`` in, without asking, and sends them back."""
        query = dict(request.query_params)
        self.queries.append(query)
        login = Login(
            sid=secrets.token_urlsafe(16),
            subject=self.subject,
            nonce=query["nonce"],
            challenge=query["code_challenge"],
            redirect_uri=query["redirect_uri"],
            scopes=query["scope"].split(),
        )
        is_right = (
            query["client_id"] == CLIENT_ID
            and query["response_type"] == "code"
            and query["code_challenge_method"] == "S256"
            and "openid" in login.scopes
        )
        if not is_right:
            return Response("a bad authorization request", 400)
        code = secrets.token_urlsafe(16)
        self._codes[code] = login
        self.logins[login.sid] = login
        answer = {"code": code, "state": query["state"]}
        if self.names_itself:
            answer["iss"] = self.issuer
        return RedirectResponse(f"{login.redirect_uri}?{urlencode(answer)}", 302)

    async def end_session(self, request: Request) -> Response:
        """Signs everybody out and sends them back (RP-Initiated Logout 1.0)."""
        query = request.query_params
        if query["client_id"] != CLIENT_ID:
            return Response("a bad logout request", 400)
        for login in self.logins.values():
            self.end(login)
        return RedirectResponse(query["post_logout_redirect_uri"], 302)

    async def token(self, request: Request) -> Response:
        self.calls.append("token")
        faulty = self._faulty("token", is_noted=False)
        if faulty is not None:
            return faulty
        if self.token_error:
            return JSONResponse(self.token_error, self.status)
        form = dict(parse_qsl((await request.body()).decode("ascii"), keep_blank_values=True))
        if not self._is_client(request, form):
            return JSONResponse({"error": "invalid_client"}, 401)
        if form["grant_type"] == "authorization_code":
            return self._redeem(form)
        return self._refresh(form["refresh_token"])

    async def user_info(self, request: Request) -> Response:
        faulty = self._faulty("userinfo")
        if faulty is not None:
            return faulty
        login = self._access_tokens.get(request.headers["authorization"].removeprefix("Bearer "))
        if login is None:
            return JSONResponse({"error": "invalid_token"}, 401)
        return JSONResponse({"sub": login.subject, **self._profile()} | self.userinfo)

    def _profile(self) -> dict[str, Any]:
        return (
            {} if self.email is None
            else {"email": self.email, "email_verified": self.email_verified}
        )  # fmt: skip

    def _redeem(self, form: Mapping[str, str]) -> Response:
        login = self._codes.pop(form["code"], None)
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        is_good = (
            login is not None
            and login.challenge == encoded(digest)
            and login.redirect_uri == form["redirect_uri"]
        )
        if login is None or not is_good:
            return JSONResponse({"error": "invalid_grant"}, 400)
        now = self.clock.now_ms() // 1000
        claims = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "sub": login.subject,
            "sid": login.sid,
            "nonce": login.nonce,
            "iat": now,
            "exp": now + 300,
            **({} if self.email_in_userinfo else self._profile()),
        } | self.claims
        kept = {name: value for name, value in claims.items() if value is not None}
        id_token = self.forge(kept) if self.forge else self.sign(kept, self.header)
        return JSONResponse(self._given(login) | {"id_token": id_token})

    def _refresh(self, token: str) -> Response:
        if token in self._spent:
            self.end(self._spent[token])
        login = self._refresh_tokens.pop(token, None)
        if login is None or login.is_over:
            return JSONResponse({"error": "invalid_grant"}, 400)
        self.refreshed += 1
        self._spent[token] = login
        return JSONResponse(self._given(login))

    def _given(self, login: Login) -> dict[str, Any]:
        access_token = secrets.token_urlsafe(16)
        self._access_tokens[access_token] = login
        given = {"access_token": access_token, "token_type": "Bearer", "expires_in": 300}
        if self.gives_refresh_tokens and "offline_access" in login.scopes:
            given["refresh_token"] = secrets.token_urlsafe(16)
            self._refresh_tokens[str(given["refresh_token"])] = login
        return given | self.given

    def _is_client(self, request: Request, form: Mapping[str, str]) -> bool:
        scheme, _, sent = request.headers.get("authorization", "").partition(" ")
        if scheme == "Basic":
            pair = base64.b64decode(sent).decode()
            client_id, secret = (unquote_plus(part) for part in pair.split(":"))
            return (client_id, secret) == (CLIENT_ID, self.secret)
        return (form.get("client_id"), form.get("client_secret")) == (CLIENT_ID, self.secret)

    def _faulty(self, name: str, *, is_noted: bool = True) -> Response | None:
        """What the endpoint answers instead; None if it is to do what it is for."""
        if is_noted:
            self.calls.append(name)
        good = JSONResponse({})
        answers: dict[Mode, Response] = {
            Mode.STATUS: JSONResponse({"error": "server_error"}, self.status),
            Mode.HTML: HTMLResponse("<h1>Maintenance</h1>"),
            Mode.HANG: Late(good, None),
            Mode.ENDLESS: Endless(),
            Mode.REDIRECT: RedirectResponse(f"{self.issuer}/elsewhere", 307),
            Mode.COMPRESSED: JSONResponse({}, headers={"content-encoding": "gzip"}),
        }
        return answers.get(self.modes.get(name, Mode.GOOD))

    async def elsewhere(self, request: Request) -> Response:
        self.calls.append("elsewhere")
        return Response()


@contextmanager
def running_provider(clock: Clock) -> Iterator[MiniOidc]:
    """A provider that listens on a port of 127.0.0.1, on a thread of its own, until the end."""
    listener = listen("127.0.0.1", 0)
    provider = MiniOidc(f"http://127.0.0.1:{listener.getsockname()[1]}", clock)
    routes = [
        Route("/.well-known/openid-configuration", provider.configuration),
        Route("/jwks", provider.jwks),
        Route("/authorize", provider.authorize),
        Route("/end-session", provider.end_session),
        Route("/token", provider.token, methods=["POST"]),
        Route("/userinfo", provider.user_info),
        Route("/elsewhere", provider.elsewhere, methods=["GET", "POST"]),
    ]
    config = uvicorn.Config(
        Starlette(routes=routes), log_config=None, lifespan="off", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
