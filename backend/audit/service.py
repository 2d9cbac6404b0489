"""Reading the audit log, and removing what is past its retention."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from backend.access import Principal
from backend.answers import missing
from backend.audit import store
from backend.audit.record import record
from backend.audit.store import EventFilter, FoundEvent, Sight
from backend.db import Database
from contracts.ids import is_id
from contracts.runtime.clock import Clock

EXPORT_PAGE = 500
_DAY_MS = 24 * 3600 * 1000
_REMOVED_AT_ONCE = 1_000


class AuditLog:
    """The events of an account.

    The log belongs to no environment. A credential that is restricted to some forms sees what was
    done to them and what it did itself, one for test forms only the latter.
    """

    def __init__(self, database: Database, clock: Clock, retention_days: int) -> None:
        self._database = database
        self._clock = clock
        self._retention_ms = retention_days * _DAY_MS

    async def list(
        self, principal: Principal, wanted: EventFilter, before: str | None, limit: int
    ) -> Sequence[FoundEvent]:
        """Events, newest first."""
        async with self._database.read() as connection:
            return await store.list_events(connection, _sight(principal), wanted, before, limit)

    async def get(self, principal: Principal, id: str) -> FoundEvent:
        """One event. Raises Rejected(NOT_FOUND)."""
        if not is_id(id, "evt"):
            raise missing("event")
        async with self._database.read() as connection:
            row = await store.find_event(connection, _sight(principal), id)
        if row is None:
            raise missing("event")
        return row

    async def note_export(self, principal: Principal, **details: Any) -> None:
        """Records that events are exported, with what filters."""
        async with self._database.write() as connection:
            now_ms = self._clock.now_ms()
            await record(connection, principal, "audit.exported", None, now_ms, **details)

    async def pages(
        self, principal: Principal, wanted: EventFilter
    ) -> AsyncIterator[Sequence[FoundEvent]]:
        """All the events, newest first."""
        before = None
        while True:
            # A transaction per page: none stays open while a slow client reads.
            page = await self.list(principal, wanted, before, EXPORT_PAGE)
            if not page:
                return
            yield page
            before = page[-1].id

    async def remove_expired(self) -> int:
        """Removes the events past their retention, some per transaction; how many it were."""
        before_ms = self._clock.now_ms() - self._retention_ms
        removed = 0
        while True:
            async with self._database.write() as connection:
                count = await store.delete_before(connection, before_ms, _REMOVED_AT_ONCE)
            removed += count
            if count < _REMOVED_AT_ONCE:
                return removed


def _sight(principal: Principal) -> Sight:
    reach = principal.reach
    return Sight(
        account_id=principal.account_id,
        is_partial=reach.is_sandbox or reach.form_ids is not None,
        key_id=principal.key_id,
        targets=frozenset() if reach.is_sandbox else reach.form_ids or frozenset(),
    )
