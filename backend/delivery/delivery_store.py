"""Queries on deliveries for those who look at them and deliver them again."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from typing import Any

import orjson
from sqlalchemy import func, insert, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.access import Principal
from backend.delivery.store import DELIVERED, PARKED, PENDING
from backend.forms.store import within
from backend.submissions.store import Filter, in_time
from backend.tables import deliveries, delivery_attempts, forms, outbox, submissions, webhooks
from contracts.submissions import SubmissionStatus

_OUTBOX_ROWS_MAX = 500


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """A delivery as it is stored."""

    id: str
    account_id: str
    form_id: str | None
    submission_id: str | None
    kind: str
    event: str
    webhook_id: str | None
    recipient: str | None
    status: str
    attempts: int
    next_at: int
    created_at: int
    finished_at: int | None
    last_status: int | None
    last_error: str | None
    replay_of: str | None


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """An attempt as the log keeps it; ``request_headers`` is JSON text."""

    attempt: int
    started_at: int
    duration_ms: int
    status: int | None
    error: str | None
    answer: str | None
    request_url: str | None
    request_headers: str | None


@dataclass(frozen=True, slots=True)
class ReplayWindow:
    """Which submissions are delivered again: received from ``since`` on and before ``until``, in
    Unix milliseconds, of an id beyond ``after``, and, unless ``of_all``, only those that the
    webhook has not taken and that are not on their way to it."""

    since: int
    until: int | None
    of_all: bool
    after: str = ""


_columns = [deliveries.c[field.name] for field in fields(DeliveryRow)]
_attempt_columns = [delivery_attempts.c[field.name] for field in fields(AttemptRow)]


async def find_deliveries(
    connection: AsyncConnection, principal: Principal, ids: Collection[str]
) -> list[DeliveryRow]:
    """Those of the deliveries whose form is within the caller's reach, newest first."""
    reachable = select(forms.c.id).where(within(principal.account_id, principal.reach))
    statement = (
        select(*_columns)
        .where(deliveries.c.id.in_(ids), deliveries.c.form_id.in_(reachable))
        .order_by(deliveries.c.id.desc())
    )
    return [DeliveryRow(**row._mapping) for row in await connection.execute(statement)]


async def attempts_of(connection: AsyncConnection, delivery_id: str) -> list[AttemptRow]:
    """The attempts of a delivery, in order."""
    statement = (
        select(*_attempt_columns)
        .where(delivery_attempts.c.delivery_id == delivery_id)
        .order_by(delivery_attempts.c.started_at)
    )
    return [AttemptRow(**row._mapping) for row in await connection.execute(statement)]


async def deliveries_of_webhook(
    connection: AsyncConnection, webhook_id: str, status: str | None, before: str | None, limit: int
) -> list[DeliveryRow]:
    """The deliveries to a webhook, newest first, those older than ``before``."""
    statement = select(*_columns).where(deliveries.c.webhook_id == webhook_id)
    if status is not None:
        statement = statement.where(deliveries.c.status == status)
    if before is not None:
        statement = statement.where(deliveries.c.id < before)
    statement = statement.order_by(deliveries.c.id.desc()).limit(limit)
    return [DeliveryRow(**row._mapping) for row in await connection.execute(statement)]


async def deliveries_of_submissions(
    connection: AsyncConnection, ids: Collection[str]
) -> dict[str, list[DeliveryRow]]:
    """The deliveries of each of the submissions, in the order in which they were made."""
    found: dict[str, list[DeliveryRow]] = defaultdict(list)
    statement = (
        select(*_columns).where(deliveries.c.submission_id.in_(ids)).order_by(deliveries.c.id)
    )
    for row in await connection.execute(statement):
        found[row.submission_id].append(DeliveryRow(**row._mapping))
    return found


async def waiting(connection: AsyncConnection, ids: Collection[str]) -> frozenset[str]:
    """Those of the submissions that are in the outbox, as far as that is short."""
    statement = (
        select(outbox.c.submission_ids)
        .where(outbox.c.submission_ids.is_not(None))
        .limit(_OUTBOX_ROWS_MAX)
    )
    texts = (await connection.execute(statement)).scalars()
    return frozenset(id for text in texts for id in orjson.loads(text)).intersection(ids)


async def insert_deliveries(connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    """Adds deliveries."""
    if rows:
        await connection.execute(insert(deliveries), rows)


async def disabled_webhooks(connection: AsyncConnection, ids: Collection[str]) -> list[str]:
    """Those of the webhooks that are not enabled."""
    statement = select(webhooks.c.id).where(webhooks.c.id.in_(ids), ~webhooks.c.enabled)
    return list((await connection.execute(statement.order_by(webhooks.c.id))).scalars())


async def submissions_to_replay(
    connection: AsyncConnection,
    webhook_id: str,
    form_id: str,
    window: ReplayWindow,
    limit: int,
) -> list[tuple[str, str | None]]:
    """The next received submissions of the window, oldest first, each with the last delivery of it
    to the webhook, if there was one."""
    of_webhook = (deliveries.c.submission_id == submissions.c.id) & (
        deliveries.c.webhook_id == webhook_id
    )
    last = (
        select(func.max(deliveries.c.id)).where(of_webhook).correlate(submissions).scalar_subquery()
    )
    statement = (
        select(submissions.c.id, last.label("last"))
        .where(
            submissions.c.form_id == form_id,
            submissions.c.status == SubmissionStatus.RECEIVED.value,
            submissions.c.id > window.after,
            *in_time(Filter(since=window.since, until=window.until)),
        )
        .order_by(submissions.c.id)
        .limit(limit)
    )
    if not window.of_all:
        settled = (
            select(literal_column("1"))
            .where(of_webhook, deliveries.c.status.in_((DELIVERED, PENDING, PARKED)))
            .correlate(submissions)
            .exists()
        )
        statement = statement.where(~settled)
    return [(row.id, row.last) for row in await connection.execute(statement)]
