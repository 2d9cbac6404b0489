"""Queries on deliveries and on their attempts.

What the dispatcher does often is on ``Transaction``, the rest on SQLAlchemy's connections.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Select,
    bindparam,
    case,
    delete,
    func,
    insert,
    literal_column,
    null,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert as insert_on_postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.delivery.attempts import Attempt, Delivery, Kind
from backend.tables import (
    deliveries,
    delivery_attempts,
    outbox,
    webhooks,
)
from backend.transaction import Transaction, among, encode_texts

PENDING, DELIVERED, FAILED, PARKED = "pending", "delivered", "failed", "parked"

# As the condition of the index says it.
is_pending: ColumnElement[bool] = literal_column("deliveries.status = 'pending'")
# Said, or SQLite's compiler makes a parameter of it.
_nothing: ColumnElement[int] = literal_column("0")
_insert_deliveries = insert(deliveries)
# SQLite knows the clause, too. Whoever is stopped while a batch commits writes it once more.
_insert_attempts = insert_on_postgresql(delivery_attempts).on_conflict_do_nothing()
_due_of_target = (
    select(deliveries.c.id)
    .where(
        is_pending,
        deliveries.c.target == bindparam("of"),
        deliveries.c.next_at <= bindparam("now_ms"),
    )
    .order_by(deliveries.c.next_at)
    .limit(bindparam("most", type_=Integer))
    .offset(_nothing)
    .with_for_update(skip_locked=True)
)
_claim = (
    update(deliveries)
    .where(among(deliveries.c.id, "ids"), is_pending)
    .values(claim=bindparam("claimed_by"), next_at=bindparam("until_ms"))
    .returning(
        deliveries.c.id,
        deliveries.c.account_id,
        deliveries.c.form_id,
        deliveries.c.submission_id,
        deliveries.c.kind,
        deliveries.c.event,
        deliveries.c.webhook_id,
        deliveries.c.recipient,
        deliveries.c.details,
        deliveries.c.target,
        deliveries.c.attempts,
        deliveries.c.created_at,
    )
)
_existing = select(deliveries.c.id).where(among(deliveries.c.id, "ids"))
_finish = (
    update(deliveries)
    .where(
        deliveries.c.id == bindparam("the_id"),
        deliveries.c.claim == bindparam("claimed_by"),
        is_pending,
    )
    .values(
        status=bindparam("new_status"),
        attempts=deliveries.c.attempts + bindparam("counts"),
        next_at=bindparam("due_ms"),
        claim=null(),
        finished_at=bindparam("ended_ms"),
        last_status=bindparam("answer_status"),
        last_error=bindparam("error"),
    )
)
_delete_deliveries = delete(deliveries).where(among(deliveries.c.id, "ids"))
_failures = bindparam("failures", type_=Integer)
_at_ms = bindparam("at_ms", type_=BigInteger)
_note_webhook = (
    update(webhooks)
    .where(webhooks.c.id == bindparam("the_id"))
    .values(
        failures_in_row=case(
            (_failures > _nothing, webhooks.c.failures_in_row + _failures), else_=_nothing
        ),
        failing_since=case(
            (_failures > _nothing, func.coalesce(webhooks.c.failing_since, _at_ms)), else_=null()
        ),
        last_delivery_at=case((_failures > _nothing, webhooks.c.last_delivery_at), else_=_at_ms),
    )
)
_hopeless = select(webhooks.c.id).where(
    among(webhooks.c.id, "ids"),
    webhooks.c.enabled,
    webhooks.c.failures_in_row >= bindparam("failures_min"),
    webhooks.c.failing_since <= bindparam("since_ms"),
)


def _targets_statement() -> Select[tuple[str, int]]:
    first = select(func.min(deliveries.c.target)).where(is_pending).scalar_subquery()
    found = select(first.label("target")).cte("found", recursive=True)
    following = (
        select(func.min(deliveries.c.target))
        .where(is_pending, deliveries.c.target > found.c.target)
        .correlate(found)
        .scalar_subquery()
    )
    found = found.union_all(select(following).where(found.c.target.is_not(None)))
    first_at = (
        select(func.min(deliveries.c.next_at))
        .where(is_pending, deliveries.c.target == found.c.target)
        .correlate(found)
        .scalar_subquery()
    )
    return select(found.c.target, first_at.label("first_at")).where(found.c.target.is_not(None))


_pending_targets = _targets_statement()


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that this process attempts now, at ``target``."""

    delivery: Delivery
    target: str


@dataclass(frozen=True, slots=True)
class DueTarget:
    """A target that something is pending for, and when the first of it is due."""

    target: str
    first_at: int


@dataclass(frozen=True, slots=True)
class Backlog:
    """Rows of the outbox that wait, those that were set aside, and pending deliveries."""

    waiting: int
    set_aside: int
    pending: int


def insert_deliveries(transaction: Transaction, rows: Sequence[dict[str, Any]]) -> None:
    """Adds deliveries."""
    transaction.run(_insert_deliveries, rows)


def pending_targets(transaction: Transaction) -> list[DueTarget]:
    """The targets that something is pending for. It looks at one row of each, however many there
    are: the next target is where the index goes on after the last one."""
    return [DueTarget(row.target, row.first_at) for row in transaction.rows(_pending_targets, {})]


def claim(
    transaction: Transaction, room: Mapping[str, int], claimed_by: str, now_ms: int, until_ms: int
) -> list[Claimed]:
    """Claims what is due, of each target as many as there is room for. Nobody else gets them
    before ``until_ms``."""
    ids: list[str] = []
    for target, most in room.items():
        values = {"of": target, "now_ms": now_ms, "most": most}
        ids += [row.id for row in transaction.rows(_due_of_target, values)]
    if not ids:
        return []
    values = {"ids": encode_texts(ids), "claimed_by": claimed_by, "until_ms": until_ms}
    return [_claimed(row) for row in transaction.rows(_claim, values)]


async def release_claims(connection: AsyncConnection, now_ms: int) -> None:
    """Makes due what is claimed: for a database that has one backend, when it starts."""
    await connection.execute(
        update(deliveries)
        .where(is_pending, deliveries.c.claim.is_not(None))
        .values(claim=None, next_at=now_ms)
    )


def existing(transaction: Transaction, ids: Collection[str]) -> set[str]:
    """Those of the deliveries that there are."""
    return {row.id for row in transaction.rows(_existing, {"ids": encode_texts(ids)})}


def insert_attempts(transaction: Transaction, rows: Sequence[dict[str, Any]]) -> None:
    """Adds attempts to the log, those that are not in it. Raises Conflict if a delivery is gone."""
    transaction.run(_insert_attempts, rows)


def finish(transaction: Transaction, rows: Sequence[dict[str, Any]]) -> None:
    """Ends attempts; each row holds the parameters of the statement. One whose claim has passed to
    somebody else, or that is not pending any more, stays as it is."""
    transaction.run(_finish, rows)


def delete_deliveries(transaction: Transaction, ids: Collection[str]) -> None:
    """Removes deliveries and their log."""
    transaction.run(_delete_deliveries, [{"ids": encode_texts(ids)}])


def note_webhooks(
    transaction: Transaction, succeeded: Collection[str], failed: Mapping[str, int], now_ms: int
) -> None:
    """Counts deliveries of webhooks that have ended: what succeeded, how many failed for good."""
    failures = dict.fromkeys(succeeded, 0) | dict(failed)
    rows = [
        {"the_id": id, "failures": count, "at_ms": now_ms} for id, count in sorted(failures.items())
    ]
    if rows:
        transaction.run(_note_webhook, rows)


def hopeless_webhooks(
    transaction: Transaction, ids: Collection[str], failures_min: int, since_ms: int
) -> list[str]:
    """Those of the webhooks that have failed so often in a row, since then or before."""
    values = {"ids": encode_texts(ids), "failures_min": failures_min, "since_ms": since_ms}
    return [row.id for row in transaction.rows(_hopeless, values)]


def attempt_row(
    delivery: Delivery, attempt: Attempt, started_ms: int, duration_ms: int
) -> dict[str, Any]:
    """An attempt as the log keeps it."""
    headers = attempt.request_headers
    return {
        "delivery_id": delivery.id,
        "started_at": started_ms,
        "attempt": delivery.attempt,
        "duration_ms": duration_ms,
        "status": attempt.status,
        "error": attempt.error,
        "answer": attempt.answer,
        "request_url": attempt.request_url,
        "request_headers": None if headers is None else orjson.dumps(dict(headers)).decode(),
    }


def delivery_row(
    delivery: Delivery, target: str, now_ms: int, replay_of: str | None = None
) -> dict[str, Any]:
    """A delivery as it is stored before its first attempt."""
    details = dict(delivery.details)
    return {
        "id": delivery.id,
        "account_id": delivery.account_id,
        "form_id": delivery.form_id,
        "submission_id": delivery.submission_id,
        "kind": delivery.kind.value,
        "event": delivery.event,
        "webhook_id": delivery.webhook_id,
        "recipient": delivery.recipient,
        "details": orjson.dumps(details).decode() if details else None,
        "target": target,
        "status": PENDING,
        "attempts": 0,
        "next_at": now_ms,
        "claim": None,
        "created_at": delivery.created_at,
        "finished_at": None,
        "last_status": None,
        "last_error": None,
        "replay_of": replay_of,
    }


async def insert_finished(
    connection: AsyncConnection,
    delivery: Delivery,
    target: str,
    attempt: Attempt,
    started_ms: int,
    duration_ms: int,
) -> None:
    """Adds a delivery whose only attempt was made already, with its log."""
    is_delivered = attempt.verdict.value == DELIVERED
    row = delivery_row(delivery, target, started_ms) | {
        "status": DELIVERED if is_delivered else FAILED,
        "attempts": 1,
        "finished_at": started_ms + duration_ms,
        "last_status": attempt.status,
        "last_error": attempt.error,
    }
    await connection.execute(_insert_deliveries, row)
    await connection.execute(
        _insert_attempts, attempt_row(delivery, attempt, started_ms, duration_ms)
    )


async def counts(connection: AsyncConnection) -> Backlog:
    """What is not delivered yet."""
    row = (
        await connection.execute(
            select(
                _count_of(outbox.c.id, outbox.c.set_aside_at.is_(None)).label("waiting"),
                _count_of(outbox.c.id, outbox.c.set_aside_at.is_not(None)).label("set_aside"),
                _count_of(deliveries.c.id, is_pending).label("pending"),
            )
        )
    ).one()
    return Backlog(row.waiting, row.set_aside, row.pending)


def _count_of(column: ColumnElement[str], condition: ColumnElement[bool]) -> Any:
    return select(func.count(column)).where(condition).scalar_subquery()


def _claimed(row: Any) -> Claimed:
    delivery = Delivery(
        id=row.id,
        account_id=row.account_id,
        kind=Kind(row.kind),
        event=row.event,
        created_at=row.created_at,
        attempt=row.attempts + 1,
        form_id=row.form_id,
        submission_id=row.submission_id,
        webhook_id=row.webhook_id,
        recipient=row.recipient,
        details=orjson.loads(row.details) if row.details else {},
    )
    return Claimed(delivery, row.target)
