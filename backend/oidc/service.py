"""Signing in at the identity provider: the authorization code flow, with PKCE."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from backend.caller import Caller
from backend.db import Database
from backend.oidc import store
from backend.oidc.alignment import end_with_provider
from backend.oidc.calls import error_code
from backend.oidc.errors import BadToken, ProviderUnreachable, SignInRefused
from backend.oidc.pending import PENDING_SECONDS, Pending, seal, unseal
from backend.oidc.provider import Provider
from backend.oidc.registration import Registration
from backend.oidc.sign_in import Person, ProviderSignIn
from backend.oidc.tokens import LEEWAY_SECONDS, LOGOUT_TOKEN_SECONDS, Tokens
from backend.sealing import Sealer
from backend.sessions.beginning import NewSession
from contracts.runtime.clock import Clock
from contracts.runtime.telemetry import get_logger

_log = get_logger("backend")


@dataclass(frozen=True, slots=True)
class Departure:
    """Where to send a browser for signing in, and the cookie to send it there with."""

    url: str
    cookie: str


@dataclass(frozen=True, slots=True)
class Arrival:
    """A session that has begun, and the page to go on to."""

    session: NewSession
    next: str


class SingleSignOn:
    """Members sign in at the provider, and out with it."""

    def __init__(
        self,
        registration: Registration,
        provider: Provider,
        tokens: Tokens,
        sign_in: ProviderSignIn,
        database: Database,
        sealer: Sealer,
        clock: Clock,
    ) -> None:
        self._registration = registration
        self._provider = provider
        self._tokens = tokens
        self._sign_in = sign_in
        self._database = database
        self._sealer = sealer
        self._clock = clock

    @property
    def name(self) -> str:
        """What people call the provider."""
        return self._registration.name

    def sign_out_url(self) -> str | None:
        """The provider's page to sign out at, if it is known by now; without I/O."""
        return self._provider.sign_out_url()

    async def depart(self, next: str) -> Departure:
        """Begins a sign-in that is to go on to the page ``next``. Raises SignInRefused."""
        pending = Pending.begin(next, self._clock.now_ms())
        parameters = {
            "state": pending.state,
            "nonce": pending.nonce,
            "code_challenge": pending.challenge,
            "code_challenge_method": "S256",
        }
        try:
            url = await self._provider.authorization_url(parameters)
        except ProviderUnreachable as error:
            self._give_up(error)
        return Departure(url, seal(pending, self._sealer))

    async def arrive(
        self, answer: Mapping[str, str], cookie: str | None, caller: Caller
    ) -> Arrival:
        """Signs in with the provider's answer, which is the query that a browser came back with.

        Raises:
            SignInRefused: it is not an answer to a sign-in of this browser; the provider has not
                signed anybody in, or nobody who is a member; or it cannot be reached.
            Rejected: UNAVAILABLE.
        """
        pending = await self._pending_of(answer, cookie)
        try:
            await self._check_sender(answer)
            reply = await self._redeem(answer, pending)
            claims = await self._claims_of(reply, pending)
        except ProviderUnreachable as error:
            self._give_up(error)
        except BadToken as error:
            _log.warning("the identity provider's token is refused", reason=str(error))
            raise SignInRefused(f"What {self.name} says of you cannot be verified.", 502) from None
        refresh_token = reply.get("refresh_token")
        new = await self._sign_in.begin(
            Person.of(claims),
            refresh_token if isinstance(refresh_token, str) else None,
            caller,
        )
        return Arrival(new, pending.next)

    async def end_by_logout_token(self, text: object) -> int:
        """Ends the sessions of which a logout token says that theirs at the provider has ended; how
        many it were.

        Raises:
            BadToken: it is not genuine, or was used before.
            ProviderUnreachable: its signature cannot be verified.
            Rejected: UNAVAILABLE.
        """
        token = await self._tokens.read_logout_token(text)
        issuer, now_ms = self._registration.issuer, self._clock.now_ms()
        kept_ms = (LOGOUT_TOKEN_SECONDS + 2 * LEEWAY_SECONDS) * 1000
        async with self._database.write() as connection:
            digest = _digest("logout token", token.jti)
            if not await store.use_once(connection, digest, now_ms + kept_ms):
                raise BadToken("it was used before")
            ids = await store.tied_sessions(connection, issuer, token.subject, token.sid)
            return await end_with_provider(
                connection, ids, "signed out at the identity provider", now_ms
            )

    async def close(self) -> None:
        """Closes the connections to the provider."""
        await self._provider.close()

    async def _pending_of(self, answer: Mapping[str, str], cookie: str | None) -> Pending:
        """The sign-in that an answer is to, which is spent. Raises SignInRefused."""
        pending = unseal(cookie, self._sealer) if cookie else None
        now_ms = self._clock.now_ms()
        if pending is not None and pending.is_of(answer.get("state", ""), now_ms):
            expires_at = pending.started_at + PENDING_SECONDS * 1000
            async with self._database.write() as connection:
                digest = _digest("state", pending.state)
                if await store.use_once(connection, digest, expires_at):
                    return pending
        raise SignInRefused(
            "This sign-in was not begun in this browser, is over, or took too long. Begin again.",
            400,
        )

    async def _check_sender(self, answer: Mapping[str, str]) -> None:
        """Whether the answer is the provider's (RFC 9207, 2.4)."""
        issuer, metadata = answer.get("iss"), await self._provider.metadata()
        is_wanted = issuer is not None or metadata.names_itself
        if is_wanted and issuer != self._registration.issuer:
            raise SignInRefused("This answer is of another identity provider. Begin again.", 400)

    async def _redeem(self, answer: Mapping[str, str], pending: Pending) -> Mapping[str, Any]:
        """What the provider gives for the answer's code."""
        if "error" in answer:
            self._refuse(answer["error"])
        reply = await self._provider.redeem(answer.get("code", ""), pending.verifier)
        if reply.is_refusal:
            self._refuse(reply.error)
        if reply.status != 200:
            raise ProviderUnreachable(f"the token endpoint answered {reply.summary}")
        return reply.document

    async def _claims_of(self, reply: Mapping[str, Any], pending: Pending) -> Mapping[str, Any]:
        """What the provider says of the person: in the ID token, or where it keeps the rest
        (OpenID Connect Core 1.0, 5.3.2 and 5.4)."""
        claims = await self._tokens.read_id_token(reply.get("id_token"), pending.nonce)
        access_token = reply.get("access_token")
        if "email" in claims or not isinstance(access_token, str):
            return claims
        more = await self._provider.user_info(access_token)
        if more is None:
            return claims
        if more.get("sub") != claims["sub"]:
            raise BadToken("the userinfo endpoint speaks of somebody else")
        # Both of one source: what one has verified is not what the other says.
        return {**claims, **{name: more.get(name) for name in ("email", "email_verified")}}

    def _refuse(self, error: str) -> NoReturn:
        code = error_code(error)
        _log.info("the identity provider signed nobody in", error=code)
        raise SignInRefused(f"{self.name} has not signed you in ({code}). Try again.")

    def _give_up(self, error: ProviderUnreachable) -> NoReturn:
        _log.error("the identity provider cannot be used", reason=str(error))
        raise SignInRefused(
            f"{self.name} cannot be reached right now. Try again in a moment, or sign in by a link "
            "in a mail.",
            503,
        ) from None


def _digest(kind: str, value: str) -> str:
    return hashlib.sha256(f"{kind}\0{value}".encode()).hexdigest()
