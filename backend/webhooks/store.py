"""Queries on webhooks. Those of forms beyond a caller's reach are not there."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import orjson
from sqlalchemy import ColumnElement, bindparam, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.access import Reach
from backend.delivery.attempts import WEBHOOK_TEST
from backend.delivery.bulk_store import in_order
from backend.delivery.store import PARKED, PENDING
from backend.forms.store import within
from backend.tables import deliveries, forms, webhooks
from backend.transaction import Transaction
from contracts.ids import first_id


@dataclass(frozen=True, slots=True)
class WebhookRow:
    """A webhook as it is stored: secrets, and the values of ``headers``, are sealed. Times are Unix
    milliseconds."""

    id: str
    account_id: str
    form_id: str
    url: str
    format: str
    events: tuple[str, ...]
    enabled: bool
    disabled_reason: str | None
    headers: Mapping[str, str]
    secret: str
    created_at: int
    updated_at: int
    previous_secret: str | None = None
    previous_secret_until: int | None = None
    failures_in_row: int = 0
    failing_since: int | None = None
    last_delivery_at: int | None = None


_columns = [webhooks.c[field.name] for field in fields(WebhookRow)]
_webhook = select(*_columns).where(
    webhooks.c.account_id == bindparam("account"), webhooks.c.id == bindparam("the_id")
)


async def find_webhook(
    connection: AsyncConnection, account_id: str, reach: Reach, id: str
) -> WebhookRow | None:
    """A webhook of a form within reach."""
    statement = select(*_columns).where(_is_within(account_id, reach), webhooks.c.id == id)
    return next(_rows(await connection.execute(statement)), None)


def find_webhook_in(transaction: Transaction, account_id: str, id: str) -> WebhookRow | None:
    """A webhook of an account, its form deleted or not."""
    return next(_rows(transaction.rows(_webhook, {"account": account_id, "the_id": id})), None)


async def lock_webhook(
    connection: AsyncConnection, account_id: str, reach: Reach, id: str
) -> WebhookRow | None:
    """A webhook of a form within reach, held until the transaction ends: of two changes at once the
    second sees the first."""
    statement = (
        select(*_columns)
        .where(_is_within(account_id, reach), webhooks.c.id == id)
        .with_for_update()
    )
    return next(_rows(await connection.execute(statement)), None)


async def list_webhooks(
    connection: AsyncConnection,
    account_id: str,
    reach: Reach,
    form_id: str | None,
    before: str | None,
    limit: int,
    *,
    only_failing: bool = False,
) -> list[WebhookRow]:
    """The webhooks of a form within reach, or of all, newest first, those older than ``before``."""
    statement = select(*_columns).where(
        webhooks.c.account_id == account_id, _is_within(account_id, reach)
    )
    if form_id is not None:
        statement = statement.where(webhooks.c.form_id == form_id)
    if only_failing:
        statement = statement.where(webhooks.c.failing_since.is_not(None))
    if before is not None:
        statement = statement.where(webhooks.c.id < before)
    statement = statement.order_by(webhooks.c.id.desc()).limit(limit)
    return list(_rows(await connection.execute(statement)))


async def count_webhooks(connection: AsyncConnection, form_id: str) -> int:
    """How many webhooks a form has."""
    statement = select(func.count()).where(webhooks.c.form_id == form_id)
    return int((await connection.execute(statement)).scalar_one())


async def insert_webhook(connection: AsyncConnection, webhook: WebhookRow) -> None:
    """Adds a webhook."""
    await connection.execute(insert(webhooks).values(_stored(asdict(webhook))))


async def update_webhook(
    connection: AsyncConnection, id: str, values: Mapping[str, Any]
) -> WebhookRow:
    """Changes a webhook, which this transaction knows to be there; the row as it is then."""
    statement = update(webhooks).where(webhooks.c.id == id).values(_stored(values))
    return next(_rows(await connection.execute(statement.returning(*_columns))))


async def delete_webhook(connection: AsyncConnection, id: str) -> None:
    """Removes a webhook; its deliveries are removed by themselves."""
    await connection.execute(delete(webhooks).where(webhooks.c.id == id))


async def unpark_deliveries(connection: AsyncConnection, id: str, now_ms: int) -> None:
    """Makes due what was put aside while a webhook was disabled."""
    parked = in_order((deliveries.c.webhook_id == id) & (deliveries.c.status == PARKED))
    await connection.execute(
        update(deliveries)
        .where(deliveries.c.id.in_(parked))
        .values(status=PENDING, next_at=now_ms, claim=None)
    )


async def remove_deliveries(connection: AsyncConnection, id: str, limit: int) -> int:
    """Removes deliveries of a webhook with their log, ``limit`` at most; how many it were."""
    chosen = in_order(deliveries.c.webhook_id == id, limit)
    removed = await connection.execute(delete(deliveries).where(deliveries.c.id.in_(chosen)))
    return removed.rowcount


async def deleted_webhooks(connection: AsyncConnection) -> list[str]:
    """The ids of webhooks that are gone and of which deliveries are left."""
    known = select(webhooks.c.id)
    statement = (
        select(deliveries.c.webhook_id)
        .where(deliveries.c.webhook_id.is_not(None), deliveries.c.webhook_id.not_in(known))
        .distinct()
    )
    return list((await connection.execute(statement)).scalars())


async def tests_since(connection: AsyncConnection, id: str, since_ms: int, limit: int) -> list[int]:
    """When a webhook was tested after that time, newest first, ``limit`` at most."""
    statement = (
        select(deliveries.c.created_at)
        .where(
            deliveries.c.webhook_id == id,
            deliveries.c.id >= first_id("whd", since_ms),
            deliveries.c.event == WEBHOOK_TEST,
            deliveries.c.created_at > since_ms,
        )
        .order_by(deliveries.c.id.desc())
        .limit(limit)
    )
    return list((await connection.execute(statement)).scalars())


def _is_within(account_id: str, reach: Reach) -> ColumnElement[bool]:
    return webhooks.c.form_id.in_(select(forms.c.id).where(within(account_id, reach)))


def _stored(values: Mapping[str, Any]) -> dict[str, Any]:
    stored = dict(values)
    for name in ("events", "headers"):
        if name in stored:
            stored[name] = orjson.dumps(stored[name]).decode()
    return stored


def _rows(found: Iterable[Any]) -> Iterator[WebhookRow]:
    for row in found:
        members = row._asdict()
        # The driver of SQLite knows no booleans.
        members["enabled"] = bool(row.enabled)
        members["events"] = tuple(orjson.loads(row.events))
        members["headers"] = orjson.loads(row.headers) if row.headers else {}
        yield WebhookRow(**members)
