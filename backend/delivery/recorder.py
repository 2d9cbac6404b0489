"""Writes down what attempts came to: all that ended since the last transaction in the next one."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from backend.audit.record import SYSTEM, record_by
from backend.db import Database
from backend.delivery import bulk_store, outbox, store
from backend.delivery.attempts import WEBHOOK_DISABLED, Attempt, Delivery, Kind, Verdict
from backend.delivery.schedule import Schedule
from backend.delivery.store import DELIVERED, FAILED, PENDING
from backend.rest import Rest
from backend.transaction import Conflict, Transaction
from contracts.runtime.clock import Clock
from contracts.runtime.telemetry import get_logger

DISABLE_AFTER_FAILURES = 5
DISABLE_AFTER_MS = 3600 * 1000
# RFC 5321, 4.5.4.1: a mail is worth trying for days.
AWAY_MS_MAX = 3 * 24 * 3600 * 1000
_AWAY_PAUSE_MS = 30_000
_ATTEMPTS = 3
_PAUSE_SECONDS = 1.0
_BUSY_REST_SECONDS = 0.25
_FINAL = (Verdict.REFUSED, Verdict.GONE)
_FAILED_IN_A_ROW = "Deliveries failed for an hour, five or more in a row."
_GONE = "The receiver answered 410 Gone."
_log = get_logger("backend")


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt that ended: ``claim`` is the one it was made under."""

    delivery: Delivery
    attempt: Attempt
    claim: str
    started_ms: int
    duration_ms: int

    @property
    def is_counted(self) -> bool:
        """Whether it counts as one of the delivery's attempts."""
        return self.attempt.verdict not in (Verdict.AWAY, Verdict.OBSOLETE)


@dataclass(slots=True)
class DeliveryCounts:
    """Attempts since the start by kind and verdict, and how late the last one began, in seconds."""

    attempts: Counter[tuple[str, str]] = field(default_factory=Counter)
    lag_seconds: float = 0.0


class Recorder:
    """``run`` writes for as long as it is not cancelled. What it cannot write now it keeps; if it
    never can, the claims end and all of it is attempted again."""

    def __init__(self, database: Database, clock: Clock, schedule: Schedule, rest: Rest) -> None:
        """``rest`` tells whether the intake is busy."""
        self._rest = rest
        self._database = database
        self._clock = clock
        self._schedule = schedule
        self._waiting: list[Ended] = []
        self._is_wanted = asyncio.Event()

    def add(self, ended: Ended) -> None:
        """Takes what is to be written."""
        self._waiting.append(ended)
        self._is_wanted.set()

    async def run(self) -> None:
        """Writes whenever there is something; what goes wrong is logged and tried again."""
        while True:
            await self._is_wanted.wait()
            self._is_wanted.clear()
            if self._rest.is_busy:
                # Each of its transactions makes the intake wait for one more sync of the disk.
                await asyncio.sleep(_BUSY_REST_SECONDS)
            try:
                await self.flush()
            except Exception as error:
                _log.error("deliveries were not recorded", error=str(error))
                await asyncio.sleep(_PAUSE_SECONDS)
                self._is_wanted.set()

    async def flush(self) -> None:
        """Writes what there is. Raises Rejected(UNAVAILABLE)."""
        while self._waiting:
            batch = self._waiting
            self._waiting = []
            try:
                hopeless = await self._write(batch)
            except BaseException:
                self._waiting = batch + self._waiting
                raise
            gone = {
                ended.delivery.webhook_id
                for ended in batch
                if ended.attempt.verdict is Verdict.GONE and ended.delivery.webhook_id is not None
            }
            for webhook_id in sorted(gone):
                await self._disable(webhook_id, _GONE)
            for webhook_id in hopeless:
                await self._disable(webhook_id, _FAILED_IN_A_ROW)

    async def _write(self, batch: Sequence[Ended]) -> list[str]:
        """Writes a batch; the webhooks that have failed for too long."""
        for _ in range(_ATTEMPTS - 1):
            try:
                return await self._database.transact(partial(self._record, batch))
            except Conflict:
                # A delivery was removed in that moment: the next look sees it.
                continue
        return await self._database.transact(partial(self._record, batch))

    def _record(self, batch: Sequence[Ended], transaction: Transaction) -> list[str]:
        # Deliveries by their ids, then webhooks by theirs: see ``store.in_order``.
        batch = sorted(batch, key=_delivery_id)
        now_ms = self._clock.now_ms()
        known = store.existing(transaction, {ended.delivery.id for ended in batch})
        there = [ended for ended in batch if ended.delivery.id in known]
        obsolete = [
            ended.delivery.id for ended in there if ended.attempt.verdict is Verdict.OBSOLETE
        ]
        logged = [
            store.attempt_row(ended.delivery, ended.attempt, ended.started_ms, ended.duration_ms)
            for ended in there
            if ended.is_counted
        ]
        finished = [
            self._finished(ended, now_ms)
            for ended in there
            if ended.attempt.verdict is not Verdict.OBSOLETE
        ]
        if logged:
            store.insert_attempts(transaction, logged)
        if finished:
            store.finish(transaction, finished)
        if obsolete:
            store.delete_deliveries(transaction, obsolete)
        return _note_webhooks(transaction, there, finished, now_ms)

    def _finished(self, ended: Ended, now_ms: int) -> dict[str, Any]:
        """The parameters that end an attempt."""
        status, due_ms = self._outcome(ended, now_ms)
        return {
            "the_id": ended.delivery.id,
            "claimed_by": ended.claim,
            "new_status": status,
            "counts": int(ended.is_counted),
            "due_ms": due_ms,
            "ended_ms": None if status == PENDING else now_ms,
            "answer_status": ended.attempt.status,
            "error": ended.attempt.error,
        }

    def _outcome(self, ended: Ended, now_ms: int) -> tuple[str, int]:
        """What a delivery is from here on, and when it is due if that is pending."""
        verdict, delivery = ended.attempt.verdict, ended.delivery
        if verdict is Verdict.DELIVERED:
            return DELIVERED, now_ms
        if verdict is Verdict.AWAY:
            is_over = now_ms - delivery.created_at > AWAY_MS_MAX
            return (FAILED, now_ms) if is_over else (PENDING, now_ms + _AWAY_PAUSE_MS)
        if verdict in _FINAL:
            return FAILED, now_ms
        next_at = self._schedule.next_at(delivery.attempt, now_ms)
        return (FAILED, now_ms) if next_at is None else (PENDING, next_at)

    async def _disable(self, webhook_id: str, reason: str) -> None:
        """Disables a webhook, parks what is pending for it, and tells the owners."""
        async with self._database.write() as connection:
            now_ms = self._clock.now_ms()
            row = await bulk_store.disable_webhook(connection, webhook_id, reason, now_ms)
            if row is None:
                return
            await record_by(
                connection,
                SYSTEM,
                row.account_id,
                "webhook.disabled",
                webhook_id,
                now_ms,
                reason=reason,
            )
            await outbox.add_notice(
                connection,
                row.account_id,
                WEBHOOK_DISABLED,
                now_ms,
                form_id=row.form_id,
                webhook_id=webhook_id,
                host=_host_of(row.url),
                reason=reason,
            )
        _log.warning("webhook disabled", webhook_id=webhook_id, reason=reason)


def _note_webhooks(
    transaction: Transaction,
    there: Sequence[Ended],
    finished: Sequence[dict[str, Any]],
    now_ms: int,
) -> list[str]:
    """Counts what ended for each webhook; those that have failed for too long."""
    status_of = {row["the_id"]: row["new_status"] for row in finished}
    succeeded: set[str] = set()
    failed: Counter[str] = Counter()
    for ended in there:
        webhook_id = ended.delivery.webhook_id
        if ended.delivery.kind is not Kind.WEBHOOK or webhook_id is None:
            continue
        status = status_of.get(ended.delivery.id)
        if status == DELIVERED:
            succeeded.add(webhook_id)
        elif status == FAILED:
            failed[webhook_id] += 1
    for webhook_id in succeeded:
        del failed[webhook_id]
    store.note_webhooks(transaction, succeeded, failed, now_ms)
    if not failed:
        return []
    return store.hopeless_webhooks(
        transaction, failed, DISABLE_AFTER_FAILURES, now_ms - DISABLE_AFTER_MS
    )


def _delivery_id(ended: Ended) -> str:
    return ended.delivery.id


def _host_of(url: str) -> str:
    """The host alone: the rest of a webhook's address may be a secret."""
    return urlsplit(url).hostname or ""
