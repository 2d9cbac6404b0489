"""Queries on the outbox, on deliveries and on their attempts."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.tables import outbox
from backend.transaction import Transaction

_insert_outbox = insert(outbox)


async def insert_outbox(connection: AsyncConnection, row: dict[str, Any]) -> None:
    """Adds a row."""
    await connection.execute(_insert_outbox, row)


def insert_outbox_in(transaction: Transaction, rows: Sequence[dict[str, Any]]) -> None:
    """Adds rows."""
    transaction.run(_insert_outbox, rows)
