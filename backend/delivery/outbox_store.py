"""Queries on the outbox, and on what it is expanded by."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Integer,
    bindparam,
    delete,
    insert,
    literal_column,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.tables import autoresponses, forms, outbox, submissions, webhooks
from backend.transaction import Transaction, among, encode_texts

# Said, or SQLite's compiler makes a parameter of it.
_nothing: ColumnElement[int] = literal_column("0")
_insert_outbox = insert(outbox)
_insert_autoresponses = insert(autoresponses)
_is_set_aside = outbox.c.set_aside_at.is_not(None)
_outbox_rows = (
    select(outbox)
    .where(~_is_set_aside)
    .order_by(outbox.c.id)
    .limit(bindparam("most", type_=Integer))
    .offset(_nothing)
    .with_for_update(skip_locked=True)
)
_outbox_ids = (
    select(outbox.c.id)
    .where(~_is_set_aside)
    .order_by(outbox.c.id)
    .limit(bindparam("most", type_=Integer))
    .offset(_nothing)
)
_outbox_row = (
    select(outbox)
    .where(outbox.c.id == bindparam("the_id"), ~_is_set_aside)
    .with_for_update(skip_locked=True)
)
_delete_outbox = delete(outbox).where(among(outbox.c.id, "ids"))
_delivering_forms = select(
    forms.c.id,
    forms.c.mode,
    forms.c.notify_emails,
    forms.c.autoresponse_enabled,
).where(among(forms.c.id, "ids"), forms.c.deleted_at.is_(None))
_delivering_webhooks = select(webhooks.c.id, webhooks.c.form_id, webhooks.c.events).where(
    among(webhooks.c.form_id, "ids"), webhooks.c.enabled
)
_payloads = select(submissions.c.id, submissions.c.form_id, submissions.c.payload).where(
    among(submissions.c.id, "ids")
)
_answered = select(autoresponses.c.form_id, autoresponses.c.address).where(
    among(autoresponses.c.address, "addresses"), autoresponses.c.day == bindparam("of")
)


async def insert_outbox(connection: AsyncConnection, row: dict[str, Any]) -> None:
    """Adds a row."""
    await connection.execute(_insert_outbox, row)


def insert_outbox_in(transaction: Transaction, rows: Sequence[dict[str, Any]]) -> None:
    """Adds rows."""
    transaction.run(_insert_outbox, rows)


def outbox_ids(transaction: Transaction, most: int) -> Sequence[str]:
    """The oldest rows of the outbox that are not set aside."""
    return [row.id for row in transaction.rows(_outbox_ids, {"most": most})]


def take_outbox(transaction: Transaction, most: int) -> Sequence[Any]:
    """The oldest rows of the outbox, which are removed."""
    return _taken(transaction, transaction.rows(_outbox_rows, {"most": most}))


def take_outbox_row(transaction: Transaction, id: str) -> Sequence[Any]:
    """One row of the outbox, which is removed; none if somebody else has it."""
    return _taken(transaction, transaction.rows(_outbox_row, {"the_id": id}))


def _taken(transaction: Transaction, rows: Sequence[Any]) -> Sequence[Any]:
    if rows:
        transaction.run(_delete_outbox, [{"ids": encode_texts([row.id for row in rows])}])
    return rows


async def set_aside(connection: AsyncConnection, id: str, now_ms: int) -> None:
    """Puts a row of the outbox where nobody takes it."""
    statement = update(outbox).where(outbox.c.id == id).values(set_aside_at=now_ms)
    await connection.execute(statement)


async def readmit(connection: AsyncConnection) -> None:
    """Puts back what was set aside."""
    await connection.execute(update(outbox).where(_is_set_aside).values(set_aside_at=None))


def delivering_forms(transaction: Transaction, ids: Collection[str]) -> dict[str, Any]:
    """Those of the forms that are not deleted, by id."""
    rows = transaction.rows(_delivering_forms, {"ids": encode_texts(ids)})
    return {row.id: row for row in rows}


def delivering_webhooks(transaction: Transaction, form_ids: Collection[str]) -> Sequence[Any]:
    """The enabled webhooks of forms."""
    return transaction.rows(_delivering_webhooks, {"ids": encode_texts(form_ids)})


def payloads(transaction: Transaction, ids: Collection[str]) -> Sequence[Any]:
    """``id``, ``form_id`` and ``payload`` of submissions."""
    return transaction.rows(_payloads, {"ids": encode_texts(ids)})


def answered_on(
    transaction: Transaction, addresses: Collection[str], day: str
) -> set[tuple[str, str]]:
    """Which forms have answered which of the addresses on a day."""
    values = {"addresses": encode_texts(addresses), "of": day}
    return {(row.form_id, row.address) for row in transaction.rows(_answered, values)}


def insert_autoresponses(transaction: Transaction, rows: Sequence[dict[str, Any]]) -> None:
    """Notes who is answered. Raises Conflict if somebody was."""
    transaction.run(_insert_autoresponses, rows)


async def remove_autoresponses(connection: AsyncConnection, before_day: str) -> None:
    """Forgets whom forms have answered before a day."""
    await connection.execute(delete(autoresponses).where(autoresponses.c.day < before_day))
