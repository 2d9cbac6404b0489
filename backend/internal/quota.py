"""The monthly quota, inside the commit: the authority on who may still store."""

from sqlalchemy import Connection

from backend.usage import store
from backend.usage.months import end_of_month, month_of
from contracts.forms import QuotaState

_NOTICES = (80, 100)


class Ledger:
    """The counts of one batch's accounts. Concurrent commits of a limited account wait for each
    other, so that what one takes the next finds taken."""

    def __init__(self, connection: Connection, limits: dict[str, int | None], now_ms: int) -> None:
        """``limits`` holds the quota of each account; None is unlimited."""
        self._connection = connection
        self._limits = limits
        self._now_ms = now_ms
        self._month = month_of(now_ms)
        self._taken = dict.fromkeys(limits, 0)
        # In one order everywhere, so that two batches cannot wait for each other. An account
        # without a limit is not held before the end: nothing depends on its count.
        self._start = {
            account_id: store.add_to_month(connection, account_id, self._month, 0)
            for account_id in sorted(limits)
            if limits[account_id] is not None
        }

    def charge(self, account_id: str) -> QuotaState | None:
        """Takes one unit, or returns the state of the quota that is used up."""
        limit = self._limits[account_id]
        if limit is not None:
            used = self._start[account_id] + self._taken[account_id]
            if used >= limit:
                return QuotaState(limit, used, end_of_month(self._now_ms))
        self._taken[account_id] += 1
        return None

    def close(self) -> None:
        """Writes what was taken."""
        for account_id in sorted(self._taken):
            taken, limit = self._taken[account_id], self._limits[account_id]
            if not taken:
                continue
            used = store.add_to_month(self._connection, account_id, self._month, taken)
            for percent in _reached(used - taken, used, limit):
                store.mark_reached(self._connection, account_id, self._month, percent, self._now_ms)


def _reached(start: int, used: int, limit: int | None) -> list[int]:
    """The percentages of the limit that were passed on the way from ``start`` to ``used``."""
    if not limit:
        return []
    return [percent for percent in _NOTICES if start * 100 < percent * limit <= used * 100]
