"""A sign-in that is under way: what the browser keeps of it, sealed, until it comes back.

State and nonce are bound to the browser by a cookie that no script reads: an answer that somebody
else got is of no use in another browser, nor can anybody be signed in as somebody else unawares.
"""

import base64
import hashlib
import hmac
import secrets
from dataclasses import asdict, dataclass

import orjson

from backend.sealing import NoSecretKey, Sealer
from backend.sessions.cookies import HostCookie

PENDING_SECONDS = 600
# The provider sends the browser back from another site, by a link.
COOKIE = HostCookie("formflow_oidc")
_RANDOM_BYTES = 32


@dataclass(frozen=True, slots=True)
class Pending:
    """A sign-in since ``started_at`` (Unix milliseconds), which goes on to the page ``next``.
    ``verifier`` is that of PKCE."""

    state: str
    nonce: str
    verifier: str
    next: str
    started_at: int

    @classmethod
    def begin(cls, next: str, now_ms: int) -> "Pending":
        """A new one."""
        state, nonce, verifier = (secrets.token_urlsafe(_RANDOM_BYTES) for _ in range(3))
        return cls(state, nonce, verifier, next, now_ms)

    @property
    def challenge(self) -> str:
        """What PKCE's ``S256`` makes of the verifier (RFC 7636, 4.2)."""
        digest = hashlib.sha256(self.verifier.encode()).digest()
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")

    def is_of(self, state: str, now_ms: int) -> bool:
        """Whether an answer is to this sign-in, and in time."""
        is_same = hmac.compare_digest(state.encode(), self.state.encode())
        return is_same and now_ms < self.started_at + PENDING_SECONDS * 1000


def seal(pending: Pending, sealer: Sealer) -> str:
    """The sign-in as a cookie's value. Raises NoSecretKey."""
    return sealer.seal(orjson.dumps(asdict(pending)).decode())


def unseal(value: str, sealer: Sealer) -> Pending | None:
    """The sign-in that a cookie's value is; None if it is not one of ours."""
    try:
        return Pending(**orjson.loads(sealer.unseal(value)))
    except (NoSecretKey, ValueError, TypeError):
        return None
