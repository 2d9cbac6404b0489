"""Queries on forms that receive nothing any more."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.silence.rules import RECEIVING_DAYS_MIN, SUBMISSIONS_MIN
from backend.tables import form_days, form_silences, forms


@dataclass(frozen=True, slots=True)
class QuietForm:
    """A form that has received nothing since ``last_day`` (``2026-06-30``). Its owners were told of
    the silence since ``told_of``; that and ``updated_at`` are Unix milliseconds."""

    id: str
    account_id: str
    name: str
    updated_at: int
    last_day: str
    told_of: int | None


def _mark(dialect: Any) -> Any:
    """Returns a row if no earlier mark is of this silence or a later one."""
    new = dialect.insert(form_silences).values(
        form_id=bindparam("of"), silent_since=bindparam("since"), told_at=bindparam("now_ms")
    )
    return new.on_conflict_do_update(
        index_elements=["form_id"],
        set_={"silent_since": new.excluded.silent_since, "told_at": new.excluded.told_at},
        where=form_silences.c.silent_since < new.excluded.silent_since,
    ).returning(form_silences.c.form_id)


_marks = {"sqlite": _mark(sqlite), "postgresql": _mark(postgresql)}
_genuine = form_days.c.submissions - form_days.c.probes


async def quiet_forms(connection: AsyncConnection, first_day: str, until: str) -> list[QuietForm]:
    """The live forms with the alarm on that have received enough to be missed since ``first_day``,
    but nothing on the day ``until`` or later."""
    received = (
        select(form_days.c.form_id, func.max(form_days.c.day).label("last_day"))
        .where(form_days.c.day >= first_day, _genuine > 0)
        .group_by(form_days.c.form_id)
        .having(
            func.max(form_days.c.day) < until,
            func.count() >= RECEIVING_DAYS_MIN,
            func.sum(_genuine) >= SUBMISSIONS_MIN,
        )
        .subquery()
    )
    statement = (
        select(
            forms.c.id,
            forms.c.account_id,
            forms.c.name,
            forms.c.updated_at,
            received.c.last_day,
            form_silences.c.silent_since.label("told_of"),
        )
        .join(received, received.c.form_id == forms.c.id)
        .join(form_silences, form_silences.c.form_id == forms.c.id, isouter=True)
        .where(
            forms.c.deleted_at.is_(None),
            forms.c.status == "live",
            forms.c.mode == "live",
            forms.c.silence_alarm_enabled,
        )
        .order_by(forms.c.id)
    )
    return [QuietForm(**row._mapping) for row in await connection.execute(statement)]


async def received_by_day(
    connection: AsyncConnection, form_ids: Collection[str], first_day: str
) -> Mapping[str, Mapping[str, int]]:
    """What each form received on each day, probes left out."""
    statement = select(form_days.c.form_id, form_days.c.day, _genuine.label("received")).where(
        form_days.c.form_id.in_(form_ids), form_days.c.day >= first_day, _genuine > 0
    )
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for row in await connection.execute(statement):
        found[row.form_id][row.day] = int(row.received)
    return found


async def mark_silence(
    connection: AsyncConnection, form_id: str, silent_since: int, now_ms: int
) -> bool:
    """Notes that the owners are told of a silence; False if that was noted before. Other
    transactions that ask for the same form wait for the end of this one."""
    values = {"of": form_id, "since": silent_since, "now_ms": now_ms}
    return (await connection.execute(_marks[connection.dialect.name], values)).first() is not None


async def forget_gone(connection: AsyncConnection) -> None:
    """Removes the notes on forms that are deleted."""
    kept = select(forms.c.id).where(forms.c.deleted_at.is_(None))
    await connection.execute(delete(form_silences).where(form_silences.c.form_id.not_in(kept)))
