"""Who is calling, and what they may: one authorisation for every kind of credential."""

import hmac
from dataclasses import dataclass

from starlette.requests import Request

from backend.accounts.store import first_account_id
from backend.db import Database
from backend.keys.verifier import Verifier
from contracts.keys import KeyKind
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
_RIGHTS_OF = {KeyKind.MANAGEMENT: RIGHTS, KeyKind.SUBMISSION: frozenset[str]()}


@dataclass(frozen=True, slots=True)
class Reach:
    """Which of an account's forms, and of what belongs to them, a credential sees. What is beyond
    its reach is missing (404), as if it were another account's. None is no restriction.

    ``is_sandbox``: forms of ``mode: test`` only.
    """

    environment: str | None = None
    form_ids: frozenset[str] | None = None
    is_sandbox: bool = False


@dataclass(frozen=True, slots=True)
class Caller:
    """Where a request came from, for the audit log."""

    address: str | None = None
    user_agent: str | None = None


EVERYTHING = Reach()


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls: for which account, by which key (``key_…``; None: the local operator), with what
    rights, on what, and from where."""

    account_id: str
    key_id: str | None
    rights: frozenset[str]
    reach: Reach = EVERYTHING
    caller: Caller = Caller()
    # None: what the account's plan says.
    requests_per_minute: int | None = None
    burst: int | None = None

    def require(self, right: str) -> None:
        """Raises Rejected unless the caller has the right."""
        if right not in self.rights:
            raise Rejected(
                Problem.INSUFFICIENT_SCOPE,
                f"This credential lacks the scope {right}.",
                scope=right,
            )


NOBODY = Principal("", None, frozenset())


class Access:
    """Turns the credential of a request into a principal."""

    def __init__(
        self, database: Database, verifier: Verifier, operator_token: str | None = None
    ) -> None:
        """A bearer equal to ``operator_token`` is the local operator: every right on the first
        account."""
        self._database = database
        self._verifier = verifier
        self._operator_token = operator_token.encode() if operator_token else None

    async def authenticate(self, request: Request) -> Principal:
        """Who calls. Raises Rejected: UNAUTHORIZED, INVALID_KEY, RATE_LIMITED, UNAVAILABLE."""
        credential = _bearer(request)
        if self._is_operator(credential):
            return await self._operator(request)
        key = await self._verifier.verify(credential)
        if key is None:
            raise Rejected(Problem.INVALID_KEY, "The API key is unknown, mistyped or revoked.")
        return Principal(key.account_id, key.id, _RIGHTS_OF[key.kind], caller=_caller(request))

    def _is_operator(self, credential: str) -> bool:
        expected = self._operator_token
        return expected is not None and hmac.compare_digest(credential.encode(), expected)

    async def _operator(self, request: Request) -> Principal:
        async with self._database.read() as connection:
            account_id = await first_account_id(connection)
        if account_id is None:
            raise Rejected(Problem.INVALID_KEY, "There is no account yet.")
        return Principal(account_id, None, RIGHTS, caller=_caller(request))


def _caller(request: Request) -> Caller:
    address = request.client.host if request.client else None
    return Caller(address, request.headers.get("user-agent"))


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
