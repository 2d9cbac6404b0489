"""When sessions were used last: those that are not used for an hour end."""

from backend.db import Database
from backend.last_use import LastUse
from backend.sessions.store import SessionRow, mark_seen
from contracts.runtime.clock import Clock

IDLE_MS = 60 * 60 * 1000


class SessionUse(LastUse):
    """See ``LastUse``. Another backend's uses are known up to a minute late."""

    def __init__(self, database: Database, clock: Clock) -> None:
        super().__init__(database, clock, mark_seen, "sessions")

    def last_seen_at(self, session: SessionRow) -> int:
        """When the session was used last."""
        return max(session.last_seen_at, self.noted(session.id) or 0)

    def has_expired(self, session: SessionRow) -> bool:
        """Whether it was not used for too long, or has lasted for as long as one may."""
        now_ms = self._clock.now_ms()
        return now_ms >= session.expires_at or now_ms >= self.last_seen_at(session) + IDLE_MS
