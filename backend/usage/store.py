"""Queries on the monthly usage of accounts."""

from collections.abc import Iterable

from sqlalchemy import update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.tables import usage_months


async def hold_month(connection: AsyncConnection, account_id: str, month: str) -> int:
    """The submissions counted in the account's month, held for this transaction alone."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = (
        dialect.insert(usage_months)
        .values(account_id=account_id, month=month, submissions=0)
        # Changes nothing, but locks the row and returns it.
        .on_conflict_do_update(
            index_elements=["account_id", "month"],
            set_={"submissions": usage_months.c.submissions},
        )
        .returning(usage_months.c.submissions)
    )
    return int((await connection.execute(statement)).scalar_one())


async def set_month(
    connection: AsyncConnection, account_id: str, month: str, submissions: int
) -> None:
    """Writes the count of a month that this transaction holds."""
    await connection.execute(
        _of(account_id, month).values(submissions=submissions)
    )


async def mark_reached(
    connection: AsyncConnection, account_id: str, month: str, percents: Iterable[int], now_ms: int
) -> None:
    """Records when 80 or 100 percent of a quota were reached first."""
    for percent in percents:
        column = usage_months.c[f"reached_{percent}_at"]
        await connection.execute(
            _of(account_id, month).where(column.is_(None)).values({column: now_ms})
        )


def _of(account_id: str, month: str):  # type: ignore[no-untyped-def]
    return update(usage_months).where(
        usage_months.c.account_id == account_id, usage_months.c.month == month
    )
