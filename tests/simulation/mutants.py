"""Known-bad variants, each with one mistake that the simulation must find."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import delete

from backend.internal import lease_store
from backend.internal.intake import Committed, Intake
from backend.internal.lease_store import LeaseRow
from backend.internal.quota import Ledger
from backend.tables import submission_aliases
from backend.transaction import Transaction
from backend.usage.store import add_to_month
from contracts.internal import Batch
from contracts.leases import LeaseStatement
from contracts.submissions import ItemResult, ItemStatus, Submission
from gateway.leases import LeaseBook
from tests.simulation.backends import SimulatedDesk
from tests.simulation.gateways import Gateway, Row
from tests.simulation.world import Variant


class SpendsAfterGiveBack(LeaseBook):
    """Goes on taking units of a lease that it has ended."""

    def take(self, account_id: str) -> str | None:
        ended = [held for held in self._held.values() if held.account_id == account_id]
        for held in ended:
            if held.spent < held.granted:
                held.spent += 1
                held.spooled += 1
                return held.id
        return None


class BelievesOldAnswers(LeaseBook):
    """Learns of leases from answers to batches that were sent before it forgot some."""

    def learn(self, leases: Any, page: int) -> None:
        super().learn(leases, self.page)


class ForgetsAtOnce(LeaseBook):
    """Forgets a lease as soon as it ends, if nothing of it is spooled."""

    def statement(self) -> LeaseStatement:
        statement = super().statement()
        for lease_id, units in statement.ended.items():
            if units == 0:
                del self._held[lease_id]
        return statement

    def _take_note(self, statement: LeaseStatement) -> None:
        known = {id: units for id, units in statement.ended.items() if id in self._held}
        super()._take_note(
            LeaseStatement(statement.holder, statement.session, statement.after, known)
        )


class ForgetsItsSpool(LeaseBook):
    """Does not know after a restart what is spooled."""

    def __init__(self, holder: str, spooled: Mapping[str, int], clock: Any, mint: Any) -> None:
        super().__init__(holder, {}, clock, mint)


class SpendsAgainAfterReplay(Gateway):
    """Takes a unit back whose submission was answered ``replayed``: perhaps it has cost it."""

    def settle(self, row: Row, result: ItemResult) -> None:
        if result.status is ItemStatus.STORED:
            self.book.settle(row.lease_id)
        else:
            self.book.put_back(row.lease_id)


class SpoolsWithNewId(Gateway):
    """Spools what may have arrived under another id."""

    def to_spool(self, submission: Submission) -> Submission:
        copy = Submission(
            self._world.mint("sub"),
            submission.form_id,
            submission.received_at,
            submission.status,
            submission.payload,
            submission.meta,
            submission.trace,
            idempotency_key=submission.idempotency_key,
            fingerprint=submission.fingerprint,
        )
        return copy


class _GreedyLedger(Ledger):
    def reserved(self, account_id: str) -> int:
        return 0

    def free(self, account_id: str) -> int:
        month = self._months[account_id, self.month]
        return self.limit(account_id) - month.used - month.taken


class IgnoresReservations(Intake):
    """Gives units away that are on lease."""

    def _ledger(
        self,
        transaction: Transaction,
        items: Sequence[Submission],
        live: Mapping[str, Any],
        now_ms: int,
    ) -> Ledger:
        lease_ids = {item.lease_id for item in items if item.lease_id is not None}
        return _GreedyLedger(transaction, self._limits(live), now_ms, lease_ids)


class _NeverRefusingLedger(Ledger):
    def charge(self, account_id: str, lease_id: str | None = None, **_: Any) -> Any:
        return super().charge(account_id, None, is_promised=lease_id is not None)


class ChargesNoLease(Intake):
    """Charges what carries a lease to what is free."""

    def _ledger(
        self,
        transaction: Transaction,
        items: Sequence[Submission],
        live: Mapping[str, Any],
        now_ms: int,
    ) -> Ledger:
        return _NeverRefusingLedger(transaction, self._limits(live), now_ms)


class KeepsNoAlias(Intake):
    """Does not note which submission a promised id stands for."""

    def _commit(
        self, batch: Batch, transaction: Transaction, *, looks_for_known: bool
    ) -> Committed:
        committed = super()._commit(batch, transaction, looks_for_known=looks_for_known)
        transaction.run(delete(submission_aliases), [{}])
        return committed


class SettlesStatementsAnew(SimulatedDesk):
    """Takes a statement for the last word, though much may have happened since it was made."""

    def _end_some(
        self, rows: Sequence[LeaseRow], spooled: Mapping[str, int], transaction: Transaction
    ) -> int:
        lease_store.hold_months(transaction, {(row.account_id, row.month) for row in rows})
        for row in lease_store.find(transaction, {row.id for row in rows}):
            granted = row.settled + spooled.get(row.id, 0)
            lease_store.end(transaction, row.id, granted, self._clock.now_ms())
            add_to_month(transaction, row.account_id, row.month, 0, granted - row.granted)
        return 0


class HearsTheDead(SimulatedDesk):
    """Takes a statement of any session, also of one that another has followed."""

    def _enter(
        self, statement: LeaseStatement, transaction: Transaction
    ) -> tuple[str, Sequence[LeaseRow]]:
        current = lease_store.session_of(transaction, statement.holder)
        anyhow = LeaseStatement(statement.holder, statement.session, current, statement.ended)
        return super()._enter(anyhow, transaction)


class GivesNothingBack(LeaseBook):
    """Keeps its leases when it stops."""

    def close(self) -> None:
        self._is_closed = True


MUTANTS = {
    "spends after give-back": Variant(book_type=SpendsAfterGiveBack),
    "believes old answers": Variant(book_type=BelievesOldAnswers),
    "forgets at once": Variant(book_type=ForgetsAtOnce),
    "forgets its spool": Variant(book_type=ForgetsItsSpool),
    "gives nothing back": Variant(book_type=GivesNothingBack),
    "spends again after a replay": Variant(gateway_type=SpendsAgainAfterReplay),
    "spools under a new id": Variant(gateway_type=SpoolsWithNewId),
    "ignores reservations": Variant(intake_type=IgnoresReservations),
    "charges no lease": Variant(intake_type=ChargesNoLease),
    "keeps no alias": Variant(intake_type=KeepsNoAlias),
    "takes statements for the last word": Variant(desk_type=SettlesStatementsAnew),
    "hears the dead": Variant(desk_type=HearsTheDead),
}
