"""Grants of leases: at the end of a commit, to the gateway it came from."""

from backend.internal import lease_store as store
from backend.internal.lease_store import LeaseRow
from backend.internal.quota import Ledger
from backend.transaction import Transaction
from backend.usage.months import end_of_month
from contracts.ids import new_id
from contracts.leases import Lease, LeaseAsker
from contracts.runtime.clock import Clock

_UNITS_MAX = 1_000
# Nothing is granted once less than this part of a quota is free.
_FREE_PART = 5
_HOLDER_MS = 24 * 3600 * 1000
_COUNT_SECONDS = 60.0


class Granter:
    """Knows how many holders share what is free, as of a minute ago at most."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._holders = 1
        self._counted_at = float("-inf")

    def grant(self, transaction: Transaction, ledger: Ledger, asker: LeaseAsker) -> list[Lease]:
        """The asker's open leases on the ledger's accounts, as they are after more was granted.

        What was granted before is told again and again: an answer that told it may have been lost.
        """
        accounts = [id for id in ledger.limited() if ledger.reserved(id) or _is_open(ledger, id)]
        if not accounts:
            return []
        grants = _Grants(transaction, ledger, asker, self._clock.now_ms())
        grants.read(accounts)
        lacking = [id for id in accounts if grants.lacks(id, self._holders)]
        if lacking and grants.is_session_current():
            self._count_holders(transaction)
            for id in lacking:
                if grants.lacks(id, self._holders):
                    grants.grant(id, self._holders)
        return grants.leases()

    def _count_holders(self, transaction: Transaction) -> None:
        now = self._clock.monotonic()
        if now - self._counted_at >= _COUNT_SECONDS:
            since_ms = self._clock.now_ms() - _HOLDER_MS
            self._holders = max(1, store.count_holders(transaction, since_ms))
            self._counted_at = now


class _Grants:
    """One commit's."""

    def __init__(
        self, transaction: Transaction, ledger: Ledger, asker: LeaseAsker, now_ms: int
    ) -> None:
        self._transaction = transaction
        self._ledger = ledger
        self._asker = asker
        self._now_ms = now_ms
        self._rows: dict[str, LeaseRow] = {}
        self._leases: dict[str, Lease] = {}

    def read(self, account_ids: list[str]) -> None:
        """Looks for the open leases on these accounts."""
        month = self._ledger.month
        self._rows = store.open_of_session(self._transaction, self._asker, account_ids, month)
        for account_id, row in self._rows.items():
            if row.granted > row.settled:
                self._keep(row.id, account_id, row.granted)

    def lacks(self, account_id: str, holders: int) -> bool:
        """Whether less than half is left of what would be granted now."""
        if not _is_open(self._ledger, account_id):
            return False
        return self._left(account_id) * 2 < self._size(account_id, holders)

    def is_session_current(self) -> bool:
        """Whether the session is still the holder's: a batch may come late."""
        holder, session = self._asker.holder, self._asker.session
        return store.change_session(self._transaction, holder, session, session, self._now_ms)

    def grant(self, account_id: str, holders: int) -> None:
        """Grants a lease, or tops up the one that is open."""
        row = self._rows.get(account_id)
        units = self._size(account_id, holders) - self._left(account_id)
        self._ledger.reserve(account_id, units)
        if row is None:
            self._add(account_id, units)
            return
        granted = row.granted + units
        store.set_units(self._transaction, row.id, granted, row.settled)
        self._keep(row.id, account_id, granted)

    def leases(self) -> list[Lease]:
        """What the asker is to be told."""
        return list(self._leases.values())

    def _add(self, account_id: str, units: int) -> None:
        lease = {
            "id": new_id("lse", self._now_ms),
            "holder": self._asker.holder,
            "session": self._asker.session,
            "account_id": account_id,
            "month": self._ledger.month,
            "granted": units,
        }
        store.add(self._transaction, lease)
        self._keep(str(lease["id"]), account_id, units)

    def _keep(self, id: str, account_id: str, granted: int) -> None:
        self._leases[account_id] = Lease(id, account_id, granted, end_of_month(self._now_ms))

    def _left(self, account_id: str) -> int:
        row = self._rows.get(account_id)
        return row.granted - row.settled if row is not None else 0

    def _size(self, account_id: str, holders: int) -> int:
        return max(1, min(self._ledger.free(account_id) // (2 * holders), _UNITS_MAX))


def _is_open(ledger: Ledger, account_id: str) -> bool:
    """Whether enough is free to grant some of it."""
    free = ledger.free(account_id)
    return free >= 1 and free * _FREE_PART >= ledger.limit(account_id)
