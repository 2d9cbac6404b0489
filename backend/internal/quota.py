"""The monthly quota, inside the commit: the authority on who may still store.

An account's month has a limit, units used, and units on lease, which only spooled submissions that
carry the lease may use. Used and leased units together never exceed the limit: a submission that
carries a lease turns one of the second kind into one of the first. Two things may, and nothing
but a restored backup or an operator makes them happen: a plan that has become smaller, and a
promised submission whose lease is gone. What has been promised is stored in any case.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from backend.delivery import outbox
from backend.delivery.attempts import QUOTA_REACHED
from backend.internal import lease_store
from backend.internal.lease_store import AccountMonth
from backend.transaction import Transaction
from backend.usage import store
from backend.usage.months import end_of_month, month_of
from contracts.forms import QuotaState

_NOTICES = (80, 100)


@dataclass(slots=True)
class _Month:
    """The counts at the start, and what this batch adds to them."""

    used: int = 0
    reserved: int = 0
    taken: int = 0
    reserved_more: int = 0


@dataclass(slots=True)
class _Cover:
    """A lease that submissions of this batch carry."""

    id: str
    month: AccountMonth
    granted: int
    settled: int
    is_touched: bool = False


class Ledger:
    """The counts of one batch's accounts. Concurrent commits of a limited account wait for each
    other, so that what one takes the next finds taken.

    ``short`` are the months of which a unit was refused while others were on lease.
    """

    def __init__(
        self,
        transaction: Transaction,
        limits: dict[str, int | None],
        now_ms: int,
        lease_ids: Collection[str] = (),
    ) -> None:
        """``limits`` holds the quota of each account; None is unlimited."""
        self._transaction = transaction
        self._limits = limits
        self._now_ms = now_ms
        self.month = month_of(now_ms)
        self.short: set[AccountMonth] = set()
        # A lease's account and month never change; the rest does until its month is held.
        covering = self._find(lease_ids) if lease_ids else {}
        # An account without a limit is not held before the end: nothing depends on its count.
        held = {(account_id, self.month) for account_id in limits if self._is_limited(account_id)}
        counts = lease_store.hold_months(transaction, held.union(covering.values()))
        self._months = {key: _Month(*count) for key, count in counts.items()}
        self._covers = self._read_covers(covering) if covering else {}

    def charge(
        self, account_id: str, lease_id: str | None = None, *, is_promised: bool = False
    ) -> QuotaState | None:
        """Takes one unit, or returns the state of the quota that is used up.

        A promised submission always gets one: of its lease, as long as that has units.
        """
        cover = self._covers.get(lease_id) if lease_id is not None else None
        if cover is not None and cover.month[0] == account_id:
            self._settle(cover)
            return None
        key = (account_id, self.month)
        month = self._months.get(key)
        if month is None:
            month = self._months[key] = _Month()
        limit = self._limits[account_id]
        if limit is not None and not is_promised and self.free(account_id) <= 0:
            if month.reserved + month.reserved_more > 0:
                self.short.add(key)
            return QuotaState(limit, month.used + month.taken, end_of_month(self._now_ms))
        month.taken += 1
        return None

    def limited(self) -> list[str]:
        """The accounts that have a limit, in order."""
        return sorted(account_id for account_id in self._limits if self._is_limited(account_id))

    def limit(self, account_id: str) -> int:
        """The limit of an account that has one."""
        return self._limits[account_id] or 0

    def free(self, account_id: str) -> int:
        """Units of this month that are neither used nor on lease, of an account with a limit."""
        month = self._months[account_id, self.month]
        taken = month.used + month.taken + month.reserved + month.reserved_more
        return self.limit(account_id) - taken

    def reserved(self, account_id: str) -> int:
        """Units of this month that are on lease, of an account with a limit."""
        month = self._months[account_id, self.month]
        return month.reserved + month.reserved_more

    def reserve(self, account_id: str, units: int) -> None:
        """Puts units of this month on lease."""
        self._months[account_id, self.month].reserved_more += units

    def settle_leases(self) -> None:
        """Writes what was taken of leases; from then on they may be granted more."""
        for cover in self._covers.values():
            if cover.is_touched:
                lease_store.set_units(self._transaction, cover.id, cover.granted, cover.settled)

    def close(self) -> bool:
        """Writes what was taken and reserved of months; whether an owner is to be told of any."""
        notices = 0
        for key in sorted(self._months):
            month = self._months[key]
            if month.taken or month.reserved_more:
                notices += self._write(key, month)
        return notices > 0

    def _settle(self, cover: _Cover) -> None:
        month = self._months[cover.month]
        month.taken += 1
        if cover.granted > cover.settled:
            month.reserved_more -= 1
        else:
            cover.granted += 1
        cover.settled += 1
        cover.is_touched = True

    def _write(self, key: AccountMonth, month: _Month) -> int:
        counts = store.add_to_month(self._transaction, *key, month.taken, month.reserved_more)
        before, limit = counts.submissions - month.taken, self._limits[key[0]]
        reached = _reached(before, counts.submissions, limit)
        for percent in reached:
            store.mark_reached(self._transaction, *key, percent, self._now_ms)
        if reached:
            # Of two at once the higher one says it all.
            outbox.add_notice_in(
                self._transaction,
                key[0],
                QUOTA_REACHED,
                self._now_ms,
                percent=reached[-1],
                used=counts.submissions,
                limit=limit,
                month=key[1],
            )
        return len(reached)

    def _find(self, lease_ids: Collection[str]) -> dict[str, AccountMonth]:
        """The months of those of the leases whose accounts have a limit (still)."""
        return {
            row.id: (row.account_id, row.month)
            for row in lease_store.find(self._transaction, lease_ids)
            if self._is_limited(row.account_id)
        }

    def _read_covers(self, covering: Mapping[str, AccountMonth]) -> dict[str, _Cover]:
        return {
            row.id: _Cover(row.id, covering[row.id], row.granted, row.settled)
            for row in lease_store.find(self._transaction, covering)
        }

    def _is_limited(self, account_id: str) -> bool:
        return self._limits.get(account_id) is not None


def _reached(start: int, used: int, limit: int | None) -> list[int]:
    """The percentages of the limit that were passed on the way from ``start`` to ``used``."""
    if not limit:
        return []
    return [percent for percent in _NOTICES if start * 100 < percent * limit <= used * 100]
