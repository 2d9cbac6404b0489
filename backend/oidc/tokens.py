"""What ID tokens and logout tokens must say to be believed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from backend.oidc.errors import BadToken
from backend.oidc.keys import UnknownKey, claims_of
from backend.oidc.provider import Provider
from backend.oidc.registration import Registration
from contracts.runtime.clock import Clock

LEEWAY_SECONDS = 60
"""By how much the provider's clock may differ from ours."""
LOGOUT_TOKEN_SECONDS = 300
"""How old a logout token may be."""
_TOKEN_MAX = 65_536
_TEXT_MAX = 255
_LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
_ID_TOKEN_TYPES = frozenset({"jwt"})
_LOGOUT_TOKEN_TYPES = frozenset({"jwt", "logout+jwt"})


@dataclass(frozen=True, slots=True)
class LogoutToken:
    """Whose session at the provider has ended: that of the name ``sid``, else all of the
    ``subject``. ``jti`` names the token."""

    jti: str
    subject: str | None
    sid: str | None


class Tokens:
    """Reads tokens of the provider. All methods raise BadToken, and ProviderUnreachable if its keys
    are not to be had."""

    def __init__(self, registration: Registration, provider: Provider, clock: Clock) -> None:
        self._registration = registration
        self._provider = provider
        self._clock = clock

    async def read_id_token(self, token: object, nonce: str) -> Mapping[str, Any]:
        """The claims of an ID token for the sign-in that sent the nonce (OpenID Connect Core 1.0,
        3.1.3.7)."""
        claims = await self._verified(token, _ID_TOKEN_TYPES)
        now = self._now()
        _require(_is_number(claims.get("exp")) and claims["exp"] > now - LEEWAY_SECONDS, "exp")
        self._require_recent_past(claims)
        _require(is_name(claims.get("sub")), "sub")
        _require(claims.get("nonce") == nonce, "nonce")
        return claims

    async def read_logout_token(self, token: object) -> LogoutToken:
        """What a logout token says (OpenID Connect Back-Channel Logout 1.0, 2.6). Some providers
        leave ``exp`` out; its age counts in any case."""
        claims = await self._verified(token, _LOGOUT_TOKEN_TYPES)
        now = self._now()
        self._require_recent_past(claims)
        _require(claims["iat"] >= now - LOGOUT_TOKEN_SECONDS - LEEWAY_SECONDS, "iat")
        if "exp" in claims:
            _require(_is_number(claims["exp"]) and claims["exp"] > now - LEEWAY_SECONDS, "exp")
        events = claims.get("events")
        _require(isinstance(events, dict) and isinstance(events.get(_LOGOUT_EVENT), dict), "events")
        # An ID token has one: none must pass for a logout token.
        _require("nonce" not in claims, "nonce")
        _require(is_name(claims.get("jti")), "jti")
        subject, sid = claims.get("sub"), claims.get("sid")
        _require(subject is None or is_name(subject), "sub")
        _require(sid is None or is_name(sid), "sid")
        _require(subject is not None or sid is not None, "sub")
        return LogoutToken(claims["jti"], subject, sid)

    async def _verified(self, token: object, types: frozenset[str]) -> dict[str, Any]:
        """The claims of a token that the provider signed for this server."""
        if not isinstance(token, str) or len(token) > _TOKEN_MAX:
            raise BadToken("there is none, or it is too long")
        try:
            claims = claims_of(token, await self._provider.keys(), types)
        except UnknownKey:
            claims = await self._verified_anew(token, types)
        _require(claims.get("iss") == self._registration.issuer, "iss")
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        client_id = self._registration.client_id
        _require(client_id in audiences, "aud")
        # Of several audiences one asked for the token, and that must be us.
        is_shared = len(audiences) > 1
        _require(claims.get("azp", None if is_shared else client_id) == client_id, "azp")
        return claims

    async def _verified_anew(self, token: str, types: frozenset[str]) -> dict[str, Any]:
        try:
            return claims_of(token, await self._provider.newer_keys(), types)
        except UnknownKey:
            raise BadToken("it is signed with a key that the provider does not publish") from None

    def _require_recent_past(self, claims: Mapping[str, Any]) -> None:
        latest = self._now() + LEEWAY_SECONDS
        _require(_is_number(claims.get("iat")) and claims["iat"] <= latest, "iat")
        not_before = claims.get("nbf", 0)
        _require(_is_number(not_before) and not_before <= latest, "nbf")

    def _now(self) -> float:
        return self._clock.now_ms() / 1000


def is_name(value: object) -> bool:
    """Whether a claim may be the name of a subject, a session or a token."""
    return isinstance(value, str) and 0 < len(value) <= _TEXT_MAX and value.isprintable()


def _require(condition: bool, claim: str) -> None:
    if not condition:
        raise BadToken(f"its claim {claim} is missing or wrong")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
