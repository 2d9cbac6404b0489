"""The commit of a batch: the one transaction that makes submissions durable.

Guarantees: when ``commit`` returns, every item it calls stored is on a disk that has been fsynced;
an id, and a form's idempotency key for its 24 hours, is stored at most once, whatever is sent
again, and every promised id stands for a submission; an account never stores more than its quota;
nothing is stored for a form that is gone or not live, or with a key that has ended or may not post
to it, even if a gateway has not heard of it yet, unless it was promised before. Each item gets its
own result: one bad item does not spoil the batch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy import and_, exists, insert, literal_column, or_, select

from backend.changes import ChangeFeed
from backend.db import Database
from backend.delivery import outbox
from backend.delivery.doorbell import Doorbell
from backend.internal import idempotency
from backend.internal.grants import Granter
from backend.internal.judge import Judge, Known, form_key
from backend.internal.lease_store import AccountMonth
from backend.internal.leases import LeaseDesk
from backend.internal.posting_keys import PostingKey, posting_key
from backend.internal.quota import Ledger
from backend.keys.use import KeyUse
from backend.plans.catalogue import Plans
from backend.search.store import LATE_MS, note_late
from backend.tables import (
    accounts,
    api_keys,
    files,
    forms,
    submission_aliases,
    submissions,
    webhooks,
)
from backend.transaction import Conflict, Transaction, among, encode_texts
from backend.usage.days import count_stored
from contracts.internal import Batch, BatchAnswer
from contracts.leases import Lease
from contracts.runtime.clock import Clock
from contracts.submissions import ItemResult, ItemStatus, Submission

_ATTEMPTS = 3

# Whether a form has anybody to tell of its submissions.
_delivers = and_(
    forms.c.mode != literal_column("'test'"),
    or_(
        forms.c.notify_emails != literal_column("''"),
        forms.c.autoresponse_enabled,
        exists().where(webhooks.c.form_id == forms.c.id, webhooks.c.enabled),
    ),
)
# Share-locked where the database locks rows: a form that is deleted or a key that is revoked in a
# concurrent transaction waits for this commit, or this commit sees it.
_live_forms = (
    select(
        forms.c.id,
        forms.c.status,
        forms.c.account_id,
        forms.c.mode,
        forms.c.environment,
        forms.c.idempotency_strict,
        accounts.c.plan,
        _delivers.label("delivers"),
    )
    .join(accounts, accounts.c.id == forms.c.account_id)
    .where(among(forms.c.id, "ids"), forms.c.deleted_at.is_(None))
    .with_for_update(read=True, of=forms)
)
_keys = (
    select(
        api_keys.c.key_id,
        api_keys.c.account_id,
        api_keys.c.kind,
        api_keys.c.scopes,
        api_keys.c.environment,
        api_keys.c.allowed_forms,
        api_keys.c.revoked_at,
        api_keys.c.expires_at,
    )
    .where(among(api_keys.c.key_id, "ids"))
    # In the order in which their use is written, so that neither waits for the other for ever.
    .order_by(api_keys.c.key_id)
    .with_for_update(read=True)
)
_known_ids = select(submissions.c.id, submissions.c.received_at).where(
    among(submissions.c.id, "ids")
)
_known_aliases = select(submission_aliases).where(among(submission_aliases.c.id, "ids"))
_insert = insert(submissions)
_insert_files = insert(files)
_insert_alias = insert(submission_aliases)


@dataclass(frozen=True, slots=True)
class Committed:
    """What one transaction did; ``short`` are the months of which it refused a unit while others
    were on lease, ``is_delivered`` whether it left anything in the outbox."""

    results: list[ItemResult]
    leases: list[Lease] = field(default_factory=list)
    short: frozenset[AccountMonth] = frozenset()
    is_delivered: bool = False


class Intake:
    """Commits batches."""

    def __init__(
        self,
        database: Database,
        plans: Plans,
        clock: Clock,
        feed: ChangeFeed | None = None,
        key_use: KeyUse | None = None,
        doorbell: Doorbell | None = None,
    ) -> None:
        """The ``feed`` is told of recalls, ``key_use`` of the keys that stored something, whoever
        is at the ``doorbell`` of what is to be delivered."""
        self._key_use = key_use
        self._doorbell = doorbell
        self._database = database
        self._plans = plans
        self._clock = clock
        self._granter = Granter(clock)
        self.leases = LeaseDesk(database, clock, feed)

    async def commit(self, batch: Sequence[Submission]) -> list[ItemResult]:
        """``answer`` to a batch whose gateway wants no leases."""
        return (await self.answer(Batch(list(batch)))).results

    async def answer(self, batch: Batch) -> BatchAnswer:
        """Stores what may be stored; the results are in the order of the batch.

        Before something is refused whose quota is on lease, the lease is recalled.

        Raises:
            Rejected: UNAVAILABLE, when the database is; nothing of the batch is stored then, or
                nothing of what had to wait for the recall.
        """
        first = await self._transact(batch)
        if not first.short:
            return BatchAnswer(first.results, first.leases)
        await self.leases.recall(first.short)
        over = [at for at, result in enumerate(first.results) if result.quota is not None]
        again = await self._transact(Batch([batch.items[at] for at in over], batch.asker))
        for at, result in zip(over, again.results, strict=True):
            first.results[at] = result
        # The recall may have ended what was told before.
        return BatchAnswer(first.results, again.leases)

    async def _transact(self, batch: Batch) -> Committed:
        attempt = 1
        while True:
            # Ids are hardly ever sent twice: only a collision is worth looking for known ones.
            commit = partial(self._commit, batch, looks_for_known=attempt > 1)
            try:
                committed = await self._database.transact(commit)
            except Conflict:
                # This batch, or another backend, has stored one of these ids or bound one of
                # these keys before. The next look sees it.
                if attempt == _ATTEMPTS:
                    raise
                attempt += 1
            else:
                self._note_keys(batch, committed)
                if committed.is_delivered and self._doorbell is not None:
                    self._doorbell.ring()
                return committed

    def _note_keys(self, batch: Batch, committed: Committed) -> None:
        """The keys of what was not refused are in use."""
        if self._key_use is not None:
            self._key_use.note(
                item.key_id
                for item, result in zip(batch.items, committed.results, strict=True)
                if item.key_id is not None and result.status is not ItemStatus.REJECTED
            )

    def _commit(
        self, batch: Batch, transaction: Transaction, *, looks_for_known: bool
    ) -> Committed:
        now_ms, items = self._clock.now_ms(), batch.items
        live = _live(transaction, items)
        keyed = {key for item in items if (key := form_key(item)) is not None}
        ledger = self._ledger(transaction, items, live, now_ms)
        judge = Judge(
            forms=live,
            keys=_keys_of(transaction, items),
            now_ms=now_ms,
            bound=idempotency.find(transaction, keyed, now_ms),
            ledger=ledger,
            find_known=partial(_find_known, transaction, items),
            # What was promised has often been sent before: that is why it was spooled.
            looks_for_known=looks_for_known or any(item.is_promised for item in items),
        )
        results = [judge.decide(item) for item in items]
        _store(transaction, judge, now_ms)
        accepted = [item for item, _ in judge.accepted]
        has_outbox = outbox.add_stored(transaction, accepted, live, now_ms)
        ledger.settle_leases()
        leases = self._granter.grant(transaction, ledger, batch.asker) if batch.asker else []
        has_notice = ledger.close()
        count_stored(transaction, judge.accepted, live)
        short = frozenset(ledger.short)
        return Committed(results, leases, short, is_delivered=has_outbox or has_notice)

    def _ledger(
        self,
        transaction: Transaction,
        items: Sequence[Submission],
        live: Mapping[str, Any],
        now_ms: int,
    ) -> Ledger:
        lease_ids = {item.lease_id for item in items if item.lease_id is not None}
        return Ledger(transaction, self._limits(live), now_ms, lease_ids)

    def _limits(self, live: Mapping[str, Any]) -> dict[str, int | None]:
        return {
            form.account_id: self._plans.get(form.plan).submissions_per_month
            for form in live.values()
        }


def _live(transaction: Transaction, items: Sequence[Submission]) -> dict[str, Any]:
    ids = encode_texts({item.form_id for item in items})
    return {row.id: row for row in transaction.rows(_live_forms, {"ids": ids})}


def _keys_of(transaction: Transaction, items: Sequence[Submission]) -> dict[str, PostingKey]:
    ids = {item.key_id for item in items if item.key_id is not None}
    if not ids:
        return {}
    rows = transaction.rows(_keys, {"ids": encode_texts(ids)})
    return {row.key_id: posting_key(row) for row in rows}


def _find_known(transaction: Transaction, items: Sequence[Submission]) -> dict[str, Known]:
    """The items' ids that stand for a submission already."""
    ids = {"ids": encode_texts({item.id for item in items})}
    known = {row.id: Known(row.id, row.received_at) for row in transaction.rows(_known_ids, ids)}
    for row in transaction.rows(_known_aliases, ids):
        known[row.id] = Known(row.submission_id, row.received_at)
    return known


def _store(transaction: Transaction, judge: Judge, now_ms: int) -> None:
    aliases = [
        {"id": id, "submission_id": known.submission_id, "received_at": known.received_at}
        for id, known in judge.aliases.items()
    ]
    if aliases:
        transaction.run(_insert_alias, aliases)
    if not judge.accepted:
        return
    transaction.run(_insert, [_row(*pair) for pair in judge.accepted])
    items = [item for item, _ in judge.accepted]
    keyed = [item for item in items if item.idempotency_key is not None]
    idempotency.bind(transaction, keyed, now_ms)
    late = [item.id for item in items if item.received_at < now_ms - LATE_MS]
    if late:
        note_late(transaction, late)
    stored_files = [row for item in items for row in _file_rows(item)]
    if stored_files:
        transaction.run(_insert_files, stored_files)


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
