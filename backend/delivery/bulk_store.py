"""Queries that change many deliveries at once, and their webhooks with them."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, literal_column, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.delivery.store import PARKED, is_pending
from backend.tables import deliveries, webhooks


def in_order(condition: ColumnElement[bool], limit: int | None = None) -> Select[tuple[str]]:
    """The ids of deliveries, held until the transaction ends. Whoever changes several does so in
    the order of their ids, and before their webhook: nobody waits for whom he keeps waiting."""
    statement = select(deliveries.c.id).where(condition).order_by(deliveries.c.id)
    return statement.limit(limit).with_for_update()


async def park(connection: AsyncConnection, webhook_id: str) -> None:
    """Puts aside what is pending for a webhook."""
    pending = in_order((deliveries.c.target == webhook_id) & is_pending)
    await connection.execute(
        update(deliveries).where(deliveries.c.id.in_(pending)).values(status=PARKED, claim=None)
    )


async def disable_webhook(
    connection: AsyncConnection, id: str, reason: str, now_ms: int
) -> Any | None:
    """Disables a webhook and parks what is pending for it; its row, or None if it is not enabled
    any more."""
    await park(connection, id)
    statement = (
        update(webhooks)
        .where(webhooks.c.id == id, webhooks.c.enabled)
        .values(enabled=False, disabled_reason=reason, updated_at=now_ms)
        .returning(webhooks.c.account_id, webhooks.c.form_id, webhooks.c.url)
    )
    return (await connection.execute(statement)).first()


async def remove_ended(connection: AsyncConnection, before_ms: int, limit: int) -> int:
    """Removes deliveries that ended before then, with their log; how many it were."""
    # Nobody changes these, and the index knows them by the time.
    chosen = select(deliveries.c.id).where(deliveries.c.finished_at < before_ms).limit(limit)
    return await _remove(connection, chosen)


async def remove_of_submissions(connection: AsyncConnection, ids: Collection[str]) -> None:
    """Removes the deliveries of submissions that are being removed."""
    await _remove(connection, in_order(deliveries.c.submission_id.in_(ids)))


async def remove_of_form(connection: AsyncConnection, form_id: str, limit: int) -> int:
    """Removes deliveries of a form that is deleted, ``limit`` at most; how many it were."""
    of_form = literal_column("deliveries.form_id IS NOT NULL") & (deliveries.c.form_id == form_id)
    return await _remove(connection, in_order(of_form, limit))


async def remove_webhooks_of_form(connection: AsyncConnection, form_id: str) -> None:
    """Removes the webhooks of a form that is deleted."""
    await connection.execute(delete(webhooks).where(webhooks.c.form_id == form_id))


async def _remove(connection: AsyncConnection, chosen: Select[tuple[str]]) -> int:
    removed = await connection.execute(delete(deliveries).where(deliveries.c.id.in_(chosen)))
    return removed.rowcount
