"""Queries on the monthly usage of accounts, inside the commit."""

from types import ModuleType
from typing import Any

from sqlalchemy import Connection, bindparam, update
from sqlalchemy.dialects import postgresql, sqlite

from backend.tables import usage_months


def _addition(dialect: ModuleType) -> Any:
    """Adds to a month, or begins it; built once, because building costs more than running it."""
    new = dialect.insert(usage_months).values(
        account_id=bindparam("account"), month=bindparam("of"), submissions=bindparam("added")
    )
    return new.on_conflict_do_update(
        index_elements=["account_id", "month"],
        set_={"submissions": usage_months.c.submissions + new.excluded.submissions},
    ).returning(usage_months.c.submissions)


_additions = {"sqlite": _addition(sqlite), "postgresql": _addition(postgresql)}


def add_to_month(connection: Connection, account_id: str, month: str, submissions: int) -> int:
    """Adds to the account's month and returns its new count.

    From then on the row is this transaction's: other transactions wait for its end.
    """
    values = {"account": account_id, "of": month, "added": submissions}
    return int(connection.execute(_additions[connection.dialect.name], values).scalar_one())


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
