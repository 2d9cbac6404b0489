"""The sessions of a member: which there are, and ending them."""

from backend.access import Principal
from backend.answers import missing
from backend.audit.record import record
from backend.db import Database
from backend.sessions import store
from backend.sessions.store import SessionRow, SignedIn
from backend.sessions.use import SessionUse
from contracts.ids import is_id
from contracts.runtime.clock import Clock

_LISTED_AT_ONCE = 100
_REMOVED_AT_ONCE = 1_000


class SessionService:
    """What a member who is signed in does with sessions of their own; everybody else's are missing.
    One that is ended is refused from the next request on."""

    def __init__(self, database: Database, clock: Clock, use: SessionUse) -> None:
        self._database = database
        self._clock = clock
        self._use = use

    async def current(self, principal: Principal) -> SignedIn:
        """The session that the request came with. Raises Rejected(NOT_FOUND) if it has just been
        removed."""
        async with self._database.read() as connection:
            found = await store.find_session(connection, principal.session_id or "")
        if found is None:
            raise missing("session")
        return found

    async def list(self, principal: Principal, before: str | None, limit: int) -> list[SessionRow]:
        """The sessions in force, newest first."""
        user_id, now_ms = principal.user_id or "", self._clock.now_ms()
        found: list[SessionRow] = []
        async with self._database.read() as connection:
            while len(found) < limit:
                rows = await store.list_sessions(
                    connection, user_id, now_ms, before, _LISTED_AT_ONCE
                )
                found += (row for row in rows if not self._use.has_expired(row))
                if len(rows) < _LISTED_AT_ONCE:
                    break
                before = rows[-1].id
        return found[:limit]

    async def end(self, principal: Principal, id: str) -> None:
        """Ends a session. Raises Rejected(NOT_FOUND)."""
        now_ms = self._clock.now_ms()
        async with self._database.write() as connection:
            count = 0
            if is_id(id, "ses"):
                user_id = principal.user_id or ""
                count = await store.end_sessions(connection, user_id, now_ms, id)
            if not count:
                raise missing("session")
            await record(connection, principal, "session.ended", id, now_ms)

    async def end_current(self, principal: Principal) -> None:
        """Signs out. Raises Rejected(NOT_FOUND) if another request just did."""
        await self.end(principal, principal.session_id or "")

    async def end_all(self, principal: Principal) -> None:
        """Signs out everywhere, here too."""
        now_ms = self._clock.now_ms()
        async with self._database.write() as connection:
            user_id = principal.user_id or ""
            count = await store.end_sessions(connection, user_id, now_ms)
            await record(connection, principal, "sessions.ended", user_id, now_ms, count=count)

    async def remove_past(self) -> None:
        """Removes sessions and links that have expired for good, some per transaction. Raises
        Rejected(UNAVAILABLE)."""
        count = _REMOVED_AT_ONCE
        while count == _REMOVED_AT_ONCE:
            async with self._database.write() as connection:
                count = await store.remove_past(connection, self._clock.now_ms(), _REMOVED_AT_ONCE)
