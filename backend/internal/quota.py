"""The monthly quota, inside the commit: the authority on who may still store."""

from sqlalchemy.ext.asyncio import AsyncConnection

from backend.usage import store
from backend.usage.months import end_of_month, month_of
from contracts.forms import QuotaState

_NOTICES = (80, 100)


class Ledger:
    """The counts of one batch's accounts, held for its transaction: concurrent commits wait."""

    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms
        self._month = month_of(now_ms)
        self._start: dict[str, int] = {}
        self._used: dict[str, int] = {}
        self._limits: dict[str, int | None] = {}

    async def open(self, connection: AsyncConnection, limits: dict[str, int | None]) -> None:
        """Holds the months of these accounts; a limit of None is unlimited."""
        # In one order everywhere, so that two batches cannot wait for each other.
        for account_id in sorted(limits):
            self._start[account_id] = await store.hold_month(connection, account_id, self._month)
        self._used = dict(self._start)
        self._limits = limits

    def charge(self, account_id: str) -> QuotaState | None:
        """Takes one unit, or returns the state of the quota that is used up."""
        limit, used = self._limits[account_id], self._used[account_id]
        if limit is not None and used >= limit:
            return QuotaState(limit, used, end_of_month(self._now_ms))
        self._used[account_id] = used + 1
        return None

    async def close(self, connection: AsyncConnection) -> None:
        """Writes what was taken."""
        for account_id, used in self._used.items():
            start = self._start[account_id]
            if used == start:
                continue
            await store.set_month(connection, account_id, self._month, used)
            reached = _reached(start, used, self._limits[account_id])
            await store.mark_reached(connection, account_id, self._month, reached, self._now_ms)


def _reached(start: int, used: int, limit: int | None) -> list[int]:
    """The percentages of the limit that were passed on the way from ``start`` to ``used``."""
    if not limit:
        return []
    return [percent for percent in _NOTICES if start * 100 < percent * limit <= used * 100]
