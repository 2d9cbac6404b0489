"""Queries on the monthly usage of accounts, inside the commit."""

from sqlalchemy import Connection, update
from sqlalchemy.dialects import postgresql, sqlite

from backend.tables import usage_months


def add_to_month(connection: Connection, account_id: str, month: str, submissions: int) -> int:
    """Adds to the account's month and returns its new count.

    From then on the row is this transaction's: other transactions wait for its end.
    """
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    new = dialect.insert(usage_months).values(
        account_id=account_id, month=month, submissions=submissions
    )
    statement = new.on_conflict_do_update(
        index_elements=["account_id", "month"],
        set_={"submissions": usage_months.c.submissions + new.excluded.submissions},
    ).returning(usage_months.c.submissions)
    return int(connection.execute(statement).scalar_one())


def mark_reached(
    connection: Connection, account_id: str, month: str, percent: int, now_ms: int
) -> None:
    """Records when 80 or 100 percent of a quota were reached first."""
    column = usage_months.c[f"reached_{percent}_at"]
    connection.execute(
        update(usage_months)
        .where(
            usage_months.c.account_id == account_id,
            usage_months.c.month == month,
            column.is_(None),
        )
        .values({column: now_ms})
    )
