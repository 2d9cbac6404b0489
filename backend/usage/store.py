"""Queries on the monthly usage of accounts, inside the commit."""

from types import ModuleType
from typing import Any, NamedTuple

from sqlalchemy import Update, bindparam, update
from sqlalchemy.dialects import postgresql, sqlite

from backend.tables import usage_months
from backend.transaction import Transaction


class MonthCounts(NamedTuple):
    """Units of an account's month that are used, and those on lease."""

    submissions: int
    reserved: int


def _addition(dialect: ModuleType) -> Any:
    """Adds to a month, or begins it; built once, because building costs more than running it."""
    new = dialect.insert(usage_months).values(
        account_id=bindparam("account"),
        month=bindparam("of"),
        submissions=bindparam("added"),
        reserved=bindparam("added_reserved"),
    )
    return new.on_conflict_do_update(
        index_elements=["account_id", "month"],
        set_={
            "submissions": usage_months.c.submissions + new.excluded.submissions,
            "reserved": usage_months.c.reserved + new.excluded.reserved,
        },
    ).returning(usage_months.c.submissions, usage_months.c.reserved)


_additions = {"sqlite": _addition(sqlite), "postgresql": _addition(postgresql)}


def _mark(percent: int) -> Update:
    column = usage_months.c[f"reached_{percent}_at"]
    return (
        update(usage_months)
        .where(
            usage_months.c.account_id == bindparam("account"),
            usage_months.c.month == bindparam("of"),
            column.is_(None),
        )
        .values({column: bindparam("now_ms")})
    )


_marks = {percent: _mark(percent) for percent in (80, 100)}


def add_to_month(
    transaction: Transaction, account_id: str, month: str, submissions: int, reserved: int = 0
) -> MonthCounts:
    """Adds to the account's month and returns its new counts; ``reserved`` may be negative.

    From then on the row is this transaction's: other transactions wait for its end.
    """
    values = {
        "account": account_id,
        "of": month,
        "added": submissions,
        "added_reserved": reserved,
    }
    [row] = transaction.rows(_additions[transaction.dialect], values)
    return MonthCounts(int(row.submissions), int(row.reserved))


def mark_reached(
    transaction: Transaction, account_id: str, month: str, percent: int, now_ms: int
) -> None:
    """Records when 80 or 100 percent of a quota were reached first."""
    values = {"account": account_id, "of": month, "now_ms": now_ms}
    transaction.run(_marks[percent], [values])
