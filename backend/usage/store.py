"""Queries on usage: what the commit counts, what is reported, and what the API shows of it."""

from collections.abc import Collection, Iterable, Sequence
from types import ModuleType
from typing import Any, NamedTuple

from sqlalchemy import Select, Update, bindparam, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.access import EVERYTHING, Reach
from backend.forms.store import within
from backend.tables import (
    accounts,
    daily_counts,
    form_days,
    forms,
    gateway_reports,
    usage_months,
)
from backend.transaction import Transaction, among, encode_texts
from contracts.usage import Count


class FormDay(NamedTuple):
    """What was stored for a form on a day, or for several forms or on several days, taken together.

    ``submissions`` are those that count against the quota, ``held`` those of them that are held,
    ``probes`` those that are probes of the owner's; ``spam`` and ``test`` are the others.
    ``file_bytes`` is of all.
    """

    submissions: int = 0
    spam: int = 0
    held: int = 0
    test: int = 0
    file_bytes: int = 0
    probes: int = 0


class FormSpan(NamedTuple):
    """What was stored for a form in a span of days, and the last of them on which anything was."""

    stored: FormDay = FormDay()
    last_day: str | None = None


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


def _day_addition(dialect: ModuleType) -> Any:
    new = dialect.insert(form_days)
    return new.on_conflict_do_update(
        index_elements=["account_id", "day", "form_id"],
        set_={name: form_days.c[name] + new.excluded[name] for name in FormDay._fields},
    )


def _count_addition(dialect: ModuleType) -> Any:
    new = dialect.insert(daily_counts)
    return new.on_conflict_do_update(
        index_elements=["account_id", "day", "name"],
        set_={"count": daily_counts.c.count + new.excluded.count},
    )


def _report_claim(dialect: ModuleType) -> Any:
    """Returns a row if no later or equal report of the session was claimed before."""
    new = dialect.insert(gateway_reports).values(
        session=bindparam("of"), sequence=bindparam("number"), reported_at=bindparam("now_ms")
    )
    return new.on_conflict_do_update(
        index_elements=["session"],
        set_={"sequence": new.excluded.sequence, "reported_at": new.excluded.reported_at},
        where=gateway_reports.c.sequence < new.excluded.sequence,
    ).returning(gateway_reports.c.sequence)


_day_additions = {"sqlite": _day_addition(sqlite), "postgresql": _day_addition(postgresql)}
_count_additions = {"sqlite": _count_addition(sqlite), "postgresql": _count_addition(postgresql)}
_report_claims = {"sqlite": _report_claim(sqlite), "postgresql": _report_claim(postgresql)}
_accounts = select(accounts.c.id).where(among(accounts.c.id, "ids"))
_sums = [func.coalesce(func.sum(form_days.c[name]), 0).label(name) for name in FormDay._fields]


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


def add_to_days(transaction: Transaction, days: Sequence[dict[str, Any]]) -> None:
    """Adds to days of forms. Each of ``days`` holds ``account_id``, ``day``, ``form_id`` and the
    members of FormDay.

    From then on the rows are this transaction's: they must come in the order of their keys.
    """
    transaction.run(_day_additions[transaction.dialect], days)


def claim_report(transaction: Transaction, session: str, sequence: int, now_ms: int) -> bool:
    """Whether this report of a session, or a later one, has not been counted before. Other
    transactions that ask for the same session wait for the end of this one."""
    values = {"of": session, "number": sequence, "now_ms": now_ms}
    return bool(transaction.rows(_report_claims[transaction.dialect], values))


def add_counts(transaction: Transaction, counts: Iterable[Count]) -> None:
    """Adds to the days of accounts; counts of accounts that do not exist are dropped."""
    wanted = sorted(counts, key=lambda count: (count.account_id, count.day, count.name))
    known = _known_accounts(transaction, {count.account_id for count in wanted})
    rows = [
        {
            "account_id": count.account_id,
            "day": count.day,
            "name": count.name,
            "count": count.count,
        }
        for count in wanted
        if count.account_id in known
    ]
    if rows:
        transaction.run(_count_additions[transaction.dialect], rows)


def _known_accounts(transaction: Transaction, ids: Collection[str]) -> set[str]:
    return {row.id for row in transaction.rows(_accounts, {"ids": encode_texts(ids)})}


async def month_submissions(connection: AsyncConnection, account_id: str, month: str) -> int:
    """The units that the account has used of a month's quota."""
    statement = select(usage_months.c.submissions).where(
        usage_months.c.account_id == account_id, usage_months.c.month == month
    )
    return int((await connection.execute(statement)).scalar() or 0)


async def stored_in(
    connection: AsyncConnection, account_id: str, reach: Reach, first_day: str, last_day: str
) -> FormDay:
    """What was stored for the account's forms within reach from one day to another."""
    statement = _of_forms(select(*_sums), account_id, reach, first_day, last_day)
    return FormDay(*map(int, (await connection.execute(statement)).one()))


async def stored_by_day(
    connection: AsyncConnection,
    account_id: str,
    reach: Reach,
    first_day: str,
    last_day: str,
    form_id: str | None,
) -> dict[str, FormDay]:
    """As ``stored_in``, by day, of one form if ``form_id`` is given; days without anything are
    left out."""
    statement = _of_forms(
        select(form_days.c.day, *_sums), account_id, reach, first_day, last_day
    ).group_by(form_days.c.day)
    if form_id is not None:
        statement = statement.where(form_days.c.form_id == form_id)
    rows = await connection.execute(statement)
    return {row.day: FormDay(*map(int, row[1:])) for row in rows}


async def stored_by_form(
    connection: AsyncConnection,
    account_id: str,
    form_ids: Collection[str],
    first_day: str,
    last_day: str,
) -> dict[str, FormSpan]:
    """What was stored for these forms of the account; forms without anything are left out."""
    statement = (
        select(form_days.c.form_id, func.max(form_days.c.day), *_sums)
        .where(
            form_days.c.account_id == account_id,
            form_days.c.day.between(first_day, last_day),
            form_days.c.form_id.in_(form_ids),
        )
        .group_by(form_days.c.form_id)
    )
    rows = await connection.execute(statement)
    return {row.form_id: FormSpan(FormDay(*map(int, row[2:])), row[1]) for row in rows}


async def counts_by_day(
    connection: AsyncConnection, account_id: str, first_day: str, last_day: str
) -> list[Count]:
    """The account's counts from one day to another."""
    statement = select(
        daily_counts.c.account_id, daily_counts.c.day, daily_counts.c.name, daily_counts.c.count
    ).where(
        daily_counts.c.account_id == account_id, daily_counts.c.day.between(first_day, last_day)
    )
    return [Count(*row) for row in await connection.execute(statement)]


async def is_form_within(
    connection: AsyncConnection, account_id: str, reach: Reach, form_id: str
) -> bool:
    """Whether the account has such a form, within reach."""
    statement = select(forms.c.id).where(within(account_id, reach), forms.c.id == form_id)
    return (await connection.execute(statement)).first() is not None


async def delete_reports(connection: AsyncConnection, before_ms: int) -> None:
    """Forgets sessions that have not reported since ``before_ms``."""
    await connection.execute(
        delete(gateway_reports).where(gateway_reports.c.reported_at < before_ms)
    )


def _of_forms(
    statement: Select[Any], account_id: str, reach: Reach, first_day: str, last_day: str
) -> Select[Any]:
    statement = statement.where(
        form_days.c.account_id == account_id, form_days.c.day.between(first_day, last_day)
    )
    if reach == EVERYTHING:
        # Deleted forms, too.
        return statement
    return statement.join_from(form_days, forms, forms.c.id == form_days.c.form_id).where(
        within(account_id, reach)
    )
