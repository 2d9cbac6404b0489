"""Who is calling, and what they may: one authorisation for every kind of credential."""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from starlette.requests import Request

from backend.accounts.store import first_account_id
from backend.audit.actions import Actor
from backend.audit.refusals import Refusals
from backend.caller import Caller, Callers
from backend.db import Database
from contracts.problems import Problem, Rejected

RIGHTS = frozenset(
    {
        "forms:read",
        "forms:write",
        "forms:export",
        "submissions:read",
        "submissions:write",
        "submissions:delete",
        "webhooks:read",
        "webhooks:manage",
        "keys:manage",
        "usage:read",
        "audit:read",
        "members:read",
        "members:manage",
        "profile:read",
        "integrations:manage",
        "billing:view",
    }
)
"""Every right there is; scopes of keys and OAuth apps, and permissions of members, name some."""
SESSION = "session"
"""What a member who is signed in has beside their rights, whatever these are. Nobody can be given
it; what somebody does with their own sessions needs it."""
OWNERSHIP = "ownership"
"""What a credential has that has every right, on the whole account. Nobody can be given it; what
would let its reader in as anybody needs it."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Which of an account's forms, and of what belongs to them, a credential sees. What is beyond
    its reach is missing (404), as if it were another account's. None is no restriction.

    ``is_sandbox``: forms of ``mode: test`` only.
    """

    environment: str | None = None
    form_ids: frozenset[str] | None = None
    is_sandbox: bool = False

    def has_form(self, form_id: str, environment: str, mode: str) -> bool:
        """Whether a form of the account is within reach."""
        return (
            self.environment in (None, environment)
            and (self.form_ids is None or form_id in self.form_ids)
            and (mode == "test" or not self.is_sandbox)
        )

    def contains(self, other: "Reach") -> bool:
        """Whether nothing is within the other's reach and beyond this one."""
        return (
            self.environment in (None, other.environment)
            and (
                self.form_ids is None
                or (other.form_ids is not None and other.form_ids <= self.form_ids)
            )
            and (other.is_sandbox or not self.is_sandbox)
        )


EVERYTHING = Reach()


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls: for which account, by which key (``key_…``) or as which user (``usr_…``) in which
    session (``ses_…``), with what rights, on what, and from where. Without key and user it is the
    local operator.

    ``allowed_ips`` are the networks (CIDR) that the credential may be used from; ``expires_at``,
    in Unix milliseconds, is its end. None is no restriction.
    """

    account_id: str
    key_id: str | None
    rights: frozenset[str]
    reach: Reach = EVERYTHING
    caller: Caller = Caller()
    # None: what the account's plan says.
    requests_per_minute: int | None = None
    burst: int | None = None
    allowed_ips: tuple[str, ...] | None = None
    expires_at: int | None = None
    user_id: str | None = None
    session_id: str | None = None

    @property
    def actor(self) -> Actor:
        """Who acts, as the audit log has it."""
        if self.key_id is not None:
            return Actor("key", self.key_id)
        return Actor("operator") if self.user_id is None else Actor("user", self.user_id)

    @property
    def _is_owner(self) -> bool:
        return self.rights >= RIGHTS and self.reach == EVERYTHING

    def has(self, right: str) -> bool:
        """Whether the caller has the right."""
        return right in self.rights or (right == OWNERSHIP and self._is_owner)

    def require(self, right: str) -> None:
        """Raises Rejected unless the caller has the right."""
        if self.has(right):
            return
        detail = f"This credential lacks the scope {right}."
        if right == OWNERSHIP:
            detail = "This takes ownership: every scope, on the whole account."
        if right == SESSION:
            detail = "This takes the session of a member who is signed in."
        raise Rejected(Problem.INSUFFICIENT_SCOPE, detail, scope=right)


NOBODY = Principal("", None, frozenset())


class Credentials(Protocol):
    """One kind of credential."""

    def recognises(self, credential: str) -> bool:
        """Whether the text is of this kind, genuine or not; without I/O."""

    async def authenticate(self, credential: str, caller: Caller) -> Principal:
        """Who presents the credential. Raises Rejected, and tells the audit log of a refusal."""


class Access:
    """Turns the credential of a request into a principal."""

    def __init__(self, kinds: Sequence[Credentials], callers: Callers, refusals: Refusals) -> None:
        """The first of the ``kinds`` that recognises a credential decides on it."""
        self._kinds = kinds
        self._callers = callers
        self._refusals = refusals

    def caller_of(self, request: Request) -> Caller:
        """Where the request came from."""
        return self._callers.of(request)

    def host_of(self, request: Request) -> str:
        """The host, and the port if it is named, that the client thinks it speaks to."""
        return self._callers.host_of(request)

    async def authenticate(self, request: Request) -> Principal:
        """Who calls.

        Raises:
            Rejected: UNAUTHORIZED, INVALID_KEY, IP_NOT_ALLOWED, RATE_LIMITED, UNAVAILABLE.
        """
        return await self.authenticate_credential(_bearer(request), self._callers.of(request))

    async def authenticate_credential(self, credential: str, caller: Caller) -> Principal:
        """Who presents the credential. Raises Rejected as ``authenticate``."""
        for kind in self._kinds:
            if kind.recognises(credential):
                return await kind.authenticate(credential, caller)
        self._refusals.note(caller, None, None, "unrecognised")
        raise invalid_key()

    def require(self, principal: Principal, right: str) -> None:
        """Raises Rejected unless the principal has the right; the audit log is told."""
        try:
            principal.require(right)
        except Rejected:
            self._refusals.note(
                principal.caller, principal.account_id, None, "insufficient-scope", principal.actor
            )
            raise


class OperatorToken:
    """The local operator: every right on the first account, by a token that only this process and
    the command that started it know."""

    def __init__(self, database: Database, token: str) -> None:
        self._database = database
        self._token = token.encode()

    def recognises(self, credential: str) -> bool:
        """See ``Credentials``."""
        return hmac.compare_digest(credential.encode(), self._token)

    async def authenticate(self, credential: str, caller: Caller) -> Principal:
        """See ``Credentials``."""
        async with self._database.read() as connection:
            account_id = await first_account_id(connection)
        if account_id is None:
            raise Rejected(Problem.INVALID_KEY, "There is no account yet.")
        return Principal(account_id, None, RIGHTS, caller=caller)


def invalid_key() -> Rejected:
    """The refusal of a credential, whatever is wrong with it."""
    return Rejected(Problem.INVALID_KEY, "The API key is unknown, mistyped, revoked or expired.")


def _bearer(request: Request) -> str:
    scheme, _, credential = request.headers.get("authorization", "").partition(" ")
    credential = credential.strip()
    if scheme.lower() != "bearer" or not credential:
        raise Rejected(
            Problem.UNAUTHORIZED,
            "Send a management key: Authorization: Bearer ff_mgmt_…",
            headers={"WWW-Authenticate": "Bearer"},
        )
    return credential
