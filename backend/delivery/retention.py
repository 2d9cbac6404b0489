"""Forgets deliveries that ended long ago."""

from backend.db import Database
from backend.delivery import bulk_store, outbox_store
from contracts.runtime.clock import Clock
from contracts.usage import day_of

DAY_MS = 24 * 3600 * 1000
LOG_MS = 30 * DAY_MS
_AT_ONCE = 500


class DeliveryRetention:
    """``sweep`` removes what is older than the log is kept."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def sweep(self) -> None:
        """Removes some rows per transaction. Raises Rejected(UNAVAILABLE)."""
        now_ms = self._clock.now_ms()
        while True:
            async with self._database.write() as connection:
                removed = await bulk_store.remove_ended(connection, now_ms - LOG_MS, _AT_ONCE)
            if removed < _AT_ONCE:
                break
        async with self._database.write() as connection:
            await outbox_store.remove_autoresponses(connection, day_of(now_ms - DAY_MS))
