"""The commit of a batch: the one transaction that makes submissions durable.

Guarantees: when ``commit`` returns, every item it calls stored is on a disk that has been fsynced;
an id, and a form's idempotency key for its 24 hours, is stored at most once, whatever is sent
again; an account never stores more than its quota; nothing is stored for a form that is gone or
not live, or with a key that is revoked, even if a gateway has not heard of it yet. Each item gets
its own result: one bad item does not spoil the batch.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from sqlalchemy import Connection, Select, bindparam, insert, select
from sqlalchemy.exc import IntegrityError

from backend.db import Database
from backend.internal import idempotency
from backend.internal.idempotency import Bound, FormKey
from backend.internal.quota import Ledger
from backend.plans.catalogue import Plans
from backend.tables import accounts, api_keys, files, forms, submissions
from contracts.forms import FormStatus
from contracts.problems import Problem
from contracts.runtime.clock import Clock
from contracts.submissions import ItemResult, ItemStatus, Submission, SubmissionStatus

_ATTEMPTS = 3

# Share-locked where the database locks rows: a form that is deleted or a key that is revoked in a
# concurrent transaction waits for this commit, or this commit sees it.
_live_forms = (
    select(
        forms.c.id,
        forms.c.status,
        forms.c.account_id,
        forms.c.mode,
        forms.c.idempotency_strict,
        accounts.c.plan,
    )
    .join(accounts, accounts.c.id == forms.c.account_id)
    .where(forms.c.id.in_(bindparam("ids", expanding=True)), forms.c.deleted_at.is_(None))
    .with_for_update(read=True, of=forms)
)
_valid_keys = (
    select(api_keys.c.key_id, api_keys.c.account_id)
    .where(api_keys.c.key_id.in_(bindparam("ids", expanding=True)), api_keys.c.revoked_at.is_(None))
    .with_for_update(read=True)
)
_known_ids = select(submissions.c.id, submissions.c.received_at).where(
    submissions.c.id.in_(bindparam("ids", expanding=True))
)
_insert = insert(submissions)


class Intake:
    """Commits batches."""

    def __init__(self, database: Database, plans: Plans, clock: Clock) -> None:
        self._database = database
        self._plans = plans
        self._clock = clock

    async def commit(self, batch: Sequence[Submission]) -> list[ItemResult]:
        """Stores what may be stored; the results are in the order of the batch.

        Raises:
            Rejected: UNAVAILABLE, when the database is; nothing of the batch is stored then.
        """
        attempt = 1
        while True:
            # Ids are hardly ever sent twice: only a collision is worth looking for known ones.
            commit = partial(self._commit, batch, looks_for_known=attempt > 1)
            try:
                return await self._database.transact(commit)
            except IntegrityError:
                # This batch, or another backend, has stored one of these ids or bound one of
                # these keys before. The next look sees it.
                if attempt == _ATTEMPTS:
                    raise
                attempt += 1

    def _commit(
        self, batch: Sequence[Submission], connection: Connection, *, looks_for_known: bool
    ) -> list[ItemResult]:
        now_ms = self._clock.now_ms()
        live = _live(connection, batch)
        key_ids = {item.key_id for item in batch if item.key_id is not None}
        keyed = {key for item in batch if (key := _form_key(item)) is not None}
        limits = {
            form.account_id: self._plans.get(form.plan).submissions_per_month
            for form in live.values()
        }
        ledger = Ledger(connection, limits, now_ms)
        ids = {item.id for item in batch} if looks_for_known else set()
        judge = _Judge(
            forms=live,
            keys=_pairs(connection, _valid_keys, key_ids),
            known=_pairs(connection, _known_ids, ids),
            bound=idempotency.find(connection, keyed, now_ms),
            ledger=ledger,
        )
        results = [judge.decide(item) for item in batch]
        _store(connection, judge.accepted, now_ms)
        ledger.close()
        return results


class _Judge:
    """Decides item by item, in order: what one item takes, the next one finds taken."""

    def __init__(
        self,
        *,
        forms: dict[str, Any],
        keys: dict[str, str],
        known: dict[str, int],
        bound: dict[FormKey, Bound],
        ledger: Ledger,
    ) -> None:
        self._forms = forms
        self._keys = keys
        self._known = known
        self._bound = bound
        self._ledger = ledger
        self.accepted: list[tuple[Submission, int]] = []

    def decide(self, item: Submission) -> ItemResult:
        """The result of one item; an accepted one joins ``accepted`` with its charge."""
        if item.id in self._known:
            return ItemResult(ItemStatus.REPLAYED, item.id, self._known[item.id])
        form = self._forms.get(item.form_id)
        problem = self._refusal(item, form)
        if problem is not None:
            return _rejected(item, problem)
        key = _form_key(item)
        first = self._bound.get(key) if key is not None else None
        if first is not None:
            return _replayed(item, first, form.idempotency_strict)  # type: ignore[union-attr]
        return self._accept(item, form, key)

    def _refusal(self, item: Submission, form: Any) -> Problem | None:
        if form is None:
            return Problem.FORM_NOT_FOUND
        if form.status != FormStatus.LIVE.value:
            return Problem.FORM_NOT_LIVE
        if item.key_id is not None and self._keys.get(item.key_id) != form.account_id:
            return Problem.INVALID_KEY
        return None

    def _accept(self, item: Submission, form: Any, key: FormKey | None) -> ItemResult:
        charge = 0
        if item.status != SubmissionStatus.SPAM.value and form.mode != "test":
            charge = 1
            quota = self._ledger.charge(form.account_id)
            if quota is not None:
                return ItemResult(
                    ItemStatus.REJECTED,
                    item.id,
                    item.received_at,
                    Problem.QUOTA_EXCEEDED.slug,
                    quota=quota,
                )
        self._known[item.id] = item.received_at
        if key is not None:
            self._bound[key] = Bound(item.id, item.fingerprint or "", item.received_at)
        self.accepted.append((item, charge))
        return ItemResult(ItemStatus.STORED, item.id, item.received_at)


def _live(connection: Connection, batch: Sequence[Submission]) -> dict[str, Any]:
    found = connection.execute(_live_forms, {"ids": list({item.form_id for item in batch})})
    return {row.id: row for row in found}


def _store(connection: Connection, accepted: Sequence[tuple[Submission, int]], now_ms: int) -> None:
    if not accepted:
        return
    connection.execute(_insert, [_row(*pair) for pair in accepted])
    idempotency.bind(
        connection, [item for item, _ in accepted if item.idempotency_key is not None], now_ms
    )
    stored_files = [row for item, _ in accepted for row in _file_rows(item)]
    if stored_files:
        connection.execute(insert(files), stored_files)


def _row(item: Submission, charged: int) -> dict[str, Any]:
    return {
        "id": item.id,
        "form_id": item.form_id,
        "received_at": item.received_at,
        "status": item.status,
        "payload": item.payload,
        "meta": item.meta,
        "trace": item.trace,
        "charged": charged,
        "key_id": item.key_id,
    }


def _file_rows(item: Submission) -> list[dict[str, Any]]:
    return [
        {
            "id": file.id,
            "submission_id": item.id,
            "position": position,
            "field": file.field,
            "name": file.name,
            "size": file.size,
            "content_type": file.content_type,
            "sha256": file.sha256,
            "object_key": file.object_key,
        }
        for position, file in enumerate(item.files)
    ]


def _form_key(item: Submission) -> FormKey | None:
    return None if item.idempotency_key is None else (item.form_id, item.idempotency_key)


def _replayed(item: Submission, first: Bound, is_strict: bool) -> ItemResult:
    is_mismatch = first.fingerprint != (item.fingerprint or "")
    if is_mismatch and is_strict:
        return _rejected(item, Problem.IDEMPOTENCY_MISMATCH)
    return ItemResult(
        ItemStatus.REPLAYED, first.submission_id, first.received_at, is_mismatch=is_mismatch
    )


def _rejected(item: Submission, problem: Problem) -> ItemResult:
    return ItemResult(ItemStatus.REJECTED, item.id, item.received_at, problem.slug)


def _pairs(connection: Connection, statement: Select[str, Any], ids: set[str]) -> dict[str, Any]:
    if not ids:
        return {}
    return {first: second for first, second in connection.execute(statement, {"ids": list(ids)})}
