"""Sessions as credentials of the management API."""

from backend.access import SESSION, Principal
from backend.audit.actions import RefusalReason
from backend.audit.refusals import Refusals
from backend.caller import Caller
from backend.db import Database
from backend.sessions.beginning import TOKEN_PREFIX
from backend.sessions.store import SignedIn, find_presented
from backend.sessions.use import SessionUse
from backend.tokens import digest_of, is_token
from contracts.problems import Problem, Rejected


class SessionCredentials:
    """Tokens of sessions. Session and member are read at every request: an end, another role and a
    removal act at the next one."""

    def __init__(self, database: Database, use: SessionUse, refusals: Refusals) -> None:
        self._database = database
        self._use = use
        self._refusals = refusals

    def recognises(self, credential: str) -> bool:
        """See ``Credentials``."""
        return credential.startswith(TOKEN_PREFIX)

    async def authenticate(self, credential: str, caller: Caller) -> Principal:
        """Who is signed in. Raises Rejected: UNAUTHORIZED, UNAVAILABLE."""
        if not is_token(credential, TOKEN_PREFIX):
            raise self._refused(caller, None, "malformed")
        async with self._database.read() as connection:
            found = await find_presented(connection, digest_of(credential))
        if found is None:
            raise self._refused(caller, None, "unknown")
        if found.session.ended_at is not None:
            raise self._refused(caller, found, "revoked")
        if self._use.has_expired(found.session):
            raise self._refused(caller, found, "expired")
        self._use.note((found.session.id,))
        user = found.user
        return Principal(
            account_id=user.account_id,
            key_id=None,
            rights=user.rights | {SESSION},
            caller=caller,
            user_id=user.id,
            session_id=found.session.id,
        )

    def _refused(self, caller: Caller, found: SignedIn | None, reason: RefusalReason) -> Rejected:
        account_id = found.user.account_id if found else None
        # Of a token nothing is public but the prefix.
        self._refusals.note(caller, account_id, TOKEN_PREFIX, reason)
        return Rejected(
            Problem.UNAUTHORIZED,
            "The session has ended. Sign in again.",
            headers={"WWW-Authenticate": "Bearer"},
        )
