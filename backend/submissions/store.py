"""Queries on submissions. What is beyond a caller's reach is not there."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Row,
    Select,
    Subquery,
    Text,
    and_,
    asc,
    bindparam,
    delete,
    desc,
    func,
    literal,
    literal_column,
    select,
    true,
    union_all,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.access import Principal
from backend.forms.store import within
from backend.search.conditions import Filing
from backend.search.store import refile
from backend.tables import api_keys, files, forms, submission_aliases, submissions
from backend.transaction import Transaction
from contracts.ids import first_id
from contracts.submissions import SubmissionStatus

# An id is minted when its post is received, to the millisecond; imports and clocks may differ.
_ID_SLACK_MS = 60_000

# A submission names its key by the public part; the API names keys by their ids.
_key = func.coalesce(api_keys.c.id, submissions.c.key_id).label("key_id")
_columns = (
    submissions.c.id,
    submissions.c.form_id,
    submissions.c.received_at,
    submissions.c.status,
    submissions.c.payload,
    submissions.c.meta,
    submissions.c.trace,
    submissions.c.charged,
    submissions.c.is_read,
    _key,
)
_has_files = select(literal_column("1")).where(files.c.submission_id == submissions.c.id).exists()
_row = (
    select(*_columns, _has_files.label("has_files"))
    .select_from(submissions.outerjoin(api_keys, api_keys.c.key_id == submissions.c.key_id))
    .where(submissions.c.id == bindparam("the_id"))
)


@dataclass(frozen=True, slots=True)
class SubmissionRow:
    """A submission as it is stored: ``payload``, ``meta`` and ``trace`` are JSON text."""

    id: str
    form_id: str
    received_at: int
    status: str
    payload: str
    meta: str
    trace: str
    charged: int
    is_read: bool
    key_id: str | None


@dataclass(frozen=True, slots=True)
class ExportRow:
    """What of a submission goes into a CSV export."""

    id: str
    received_at: int
    status: str
    payload: str


@dataclass(frozen=True, slots=True)
class Filter:
    """Which submissions: all if empty. Times are Unix milliseconds, ``until`` is exclusive."""

    status: str | None = None
    is_read: bool | None = None
    since: int | None = None
    until: int | None = None

    @property
    def first_id(self) -> str | None:
        """What no id that it lets through sorts before."""
        return None if self.since is None else first_id("sub", self.since - _ID_SLACK_MS)

    @property
    def end_id(self) -> str | None:
        """What every id that it lets through sorts before."""
        return None if self.until is None else first_id("sub", self.until + _ID_SLACK_MS)

    @property
    def filings(self) -> list[Filing]:
        """The ways of filing that it lets through."""
        statuses = [status.value for status in SubmissionStatus]
        return [
            (status, is_read)
            for status in statuses
            for is_read in (False, True)
            if self.status in (None, status) and self.is_read in (None, is_read)
        ]


@dataclass(frozen=True, slots=True)
class Forms:
    """The forms within a caller's reach, or the one of them that has ``form_id``, or none."""

    principal: Principal
    form_id: str | None = None

    @property
    def condition(self) -> ColumnElement[bool]:
        """Whether a form is one of them."""
        condition = within(self.principal.account_id, self.principal.reach)
        return condition if self.form_id is None else condition & (forms.c.id == self.form_id)


async def ids_of_forms(connection: AsyncConnection, among: Forms) -> list[str]:
    """The forms' ids."""
    return list((await connection.execute(select(forms.c.id).where(among.condition))).scalars())


async def newest(
    connection: AsyncConnection, among: Forms, wanted: Filter, before: str | None, limit: int
) -> list[str]:
    """The ids of the forms' submissions, newest first, of those older than ``before``."""
    statement = newest_of(connection.dialect.name, among, wanted, before, limit)
    return list((await connection.execute(statement)).scalars())


def newest_of(
    dialect: str,
    among: Forms,
    wanted: Filter,
    before: str | None,
    limit: int,
    *more: ColumnElement[bool],
) -> Select[str]:
    """The statement of ``newest``, of those for which ``more`` holds."""
    if before is not None:
        more = (*more, submissions.c.id < before)
    return _first_of(dialect, among, wanted, desc, limit, *more)


async def neighbours(
    connection: AsyncConnection, among: Forms, wanted: Filter, id: str
) -> tuple[str | None, str | None]:
    """The ids next to one among the forms' submissions, the newer and the older."""
    dialect = connection.dialect.name
    newer = _first_of(dialect, among, wanted, asc, 1, submissions.c.id > id)
    older = newest_of(dialect, among, wanted, id, 1)
    return await connection.scalar(newer), await connection.scalar(older)


def _first_of(
    dialect: str,
    among: Forms,
    wanted: Filter,
    sorted_by: Callable[[ColumnElement[str]], ColumnElement[str]],
    limit: int,
    *more: ColumnElement[bool],
) -> Select[str]:
    """The ids of the first of the forms' submissions for which ``more`` holds.

    It takes the first of each form and way of filing, a range of one index each, and of those the
    first: how many others there are does not matter.
    """
    filings = _filings(wanted)
    first_each = (
        select(submissions.c.id)
        .where(
            submissions.c.form_id == forms.c.id,
            submissions.c.status == filings.c.status,
            submissions.c.is_read == filings.c.is_read,
            *in_time(wanted),
            *more,
        )
        .order_by(sorted_by(submissions.c.id))
        .limit(limit)
    )
    combined = forms.join(filings, true())
    if dialect == "sqlite":
        chosen = submissions.alias("chosen")
        ids = first_each.correlate(forms, filings)
        found = select(chosen.c.id).select_from(combined.join(chosen, chosen.c.id.in_(ids)))
    else:
        chosen_ids = first_each.lateral("chosen")
        found = select(chosen_ids.c.id).select_from(combined.join(chosen_ids, true()))
    column = found.selected_columns.id
    return found.where(among.condition).order_by(sorted_by(column)).limit(limit)


def is_filed(wanted: Filter) -> ColumnElement[bool]:
    """What the filter says of how a submission is filed."""
    conditions: list[ColumnElement[bool]] = []
    if wanted.status is not None:
        conditions.append(submissions.c.status == wanted.status)
    if wanted.is_read is not None:
        conditions.append(submissions.c.is_read == wanted.is_read)
    return and_(true(), *conditions)


def in_time(wanted: Filter) -> list[ColumnElement[bool]]:
    """What the filter says of times; also of ids, which are indexed in their order."""
    conditions: list[ColumnElement[bool]] = []
    if wanted.since is not None:
        conditions.append(submissions.c.received_at >= wanted.since)
        conditions.append(submissions.c.id >= wanted.first_id)
    if wanted.until is not None:
        conditions.append(submissions.c.received_at < wanted.until)
        conditions.append(submissions.c.id < wanted.end_id)
    return conditions


async def rows_of(connection: AsyncConnection, ids: Collection[str]) -> list[SubmissionRow]:
    """The submissions of these ids, newest first."""
    if not ids:
        return []
    statement = _select().where(submissions.c.id.in_(ids)).order_by(submissions.c.id.desc())
    return [SubmissionRow(**row._mapping) for row in await connection.execute(statement)]


def row_in(transaction: Transaction, id: str) -> tuple[SubmissionRow, bool] | None:
    """A submission, and whether it has files."""
    for row in transaction.rows(_row, {"the_id": id}):
        members = row._asdict()
        has_files = members.pop("has_files")
        # The driver of SQLite knows no booleans.
        return SubmissionRow(**members | {"is_read": bool(row.is_read)}), bool(has_files)
    return None


async def page_of_form(
    connection: AsyncConnection, form_id: str, wanted: Filter, after: str, limit: int
) -> list[SubmissionRow]:
    """The next submissions of a form, oldest first."""
    statement = _select().where(submissions.c.id.in_(_oldest(form_id, wanted, after, limit)))
    statement = statement.order_by(submissions.c.id).limit(limit)
    return [SubmissionRow(**row._mapping) for row in await connection.execute(statement)]


async def export_page_of_form(
    connection: AsyncConnection, form_id: str, wanted: Filter, after: str, limit: int
) -> list[ExportRow]:
    """As ``page_of_form``, only what a CSV export wants."""
    statement = (
        select(
            submissions.c.id,
            submissions.c.received_at,
            submissions.c.status,
            submissions.c.payload,
        )
        .where(submissions.c.id.in_(_oldest(form_id, wanted, after, limit)))
        .order_by(submissions.c.id)
        .limit(limit)
    )
    return [ExportRow(**row._mapping) for row in await connection.execute(statement)]


async def payloads_of_form(
    connection: AsyncConnection, form_id: str, wanted: Filter, after: str, limit: int
) -> Sequence[Row[str, str]]:
    """As ``page_of_form``, only ``id`` and ``payload``."""
    statement = (
        select(submissions.c.id, submissions.c.payload)
        .where(submissions.c.id.in_(_oldest(form_id, wanted, after, limit)))
        .order_by(submissions.c.id)
        .limit(limit)
    )
    return (await connection.execute(statement)).all()


async def count_of_form(
    connection: AsyncConnection, form_id: str, wanted: Filter
) -> dict[str, int]:
    """How many submissions the form has, by status; a status of none may be absent."""
    statement = (
        select(submissions.c.status, func.count())
        .where(submissions.c.form_id == form_id, is_filed(wanted), *in_time(wanted))
        .group_by(submissions.c.status)
    )
    return {row[0]: int(row[1]) for row in await connection.execute(statement)}


async def find_submission(
    connection: AsyncConnection, principal: Principal, id: str
) -> SubmissionRow | None:
    """A submission within the caller's reach, by its id or by an alias of it."""
    [real_id] = (await real_ids(connection, [id])).values()
    statement = _select().where(submissions.c.id == real_id, is_within(principal))
    row = (await connection.execute(statement)).first()
    return SubmissionRow(**row._mapping) if row else None


async def real_ids(connection: AsyncConnection, ids: Sequence[str]) -> dict[str, str]:
    """The id for which each of these stands: its own, or that of which it is an alias."""
    statement = select(submission_aliases.c.id, submission_aliases.c.submission_id).where(
        submission_aliases.c.id.in_(ids)
    )
    aliases = {row.id: row.submission_id for row in await connection.execute(statement)}
    return {id: aliases.get(id, id) for id in ids}


async def file_as(
    connection: AsyncConnection, ids: Collection[str], status: str | None, is_read: bool | None
) -> None:
    """Files submissions, here and in the search index; None leaves as it is."""
    named = {"status": status, "is_read": is_read}
    values = {name: value for name, value in named.items() if value is not None}
    await connection.execute(update(submissions).where(submissions.c.id.in_(ids)).values(values))
    await refile(connection, ids)


async def begin_delivery(
    connection: AsyncConnection, ids: Collection[str], status: str, now_ms: int
) -> dict[str, list[str]]:
    """Notes that nothing more is to be delivered of itself of those of the submissions whose filing
    changes from or to received; those that were never received before, by form.

    What is received at its commit is handed to delivery there, unnoted: it is noted when it is
    filed otherwise, so that it is not handed over again when that is taken back.
    """
    received = SubmissionStatus.RECEIVED.value
    is_changed = submissions.c.status != status
    if status != received:
        is_changed &= submissions.c.status == received
    statement = (
        update(submissions)
        .where(submissions.c.id.in_(ids), is_changed, submissions.c.delivery_began_at.is_(None))
        .values(delivery_began_at=now_ms)
        .returning(submissions.c.id, submissions.c.form_id)
    )
    begun: dict[str, list[str]] = {}
    for row in await connection.execute(statement):
        begun.setdefault(row.form_id, []).append(row.id)
    return begun if status == received else {}


async def hold_submissions(
    connection: AsyncConnection, principal: Principal, ids: Collection[str]
) -> set[str]:
    """Those of these submissions that are within the caller's reach; until the transaction ends
    nobody else changes them."""
    statement = (
        select(submissions.c.id)
        .where(submissions.c.id.in_(ids), is_within(principal))
        .with_for_update()
    )
    return set((await connection.execute(statement)).scalars())


async def delete_submissions(connection: AsyncConnection, ids: Collection[str]) -> None:
    """Deletes submissions, whose files are deleted already."""
    await connection.execute(delete(submissions).where(submissions.c.id.in_(ids)))


def is_within(principal: Principal) -> ColumnElement[bool]:
    """Whether a submission is within the caller's reach."""
    return submissions.c.form_id.in_(
        select(forms.c.id).where(within(principal.account_id, principal.reach))
    )


def _select() -> Select[Any]:
    return select(*_columns).select_from(
        submissions.outerjoin(api_keys, api_keys.c.key_id == submissions.c.key_id)
    )


def _filings(wanted: Filter) -> Subquery:
    rows = [
        select(literal(status, Text).label("status"), literal(is_read, Boolean).label("is_read"))
        for status, is_read in wanted.filings
    ]
    return union_all(*rows).subquery("filings")


def _oldest(form_id: str, wanted: Filter, after: str, limit: int) -> Select[str]:
    """The ids of the next submissions of each way of filing, oldest first."""
    arms = [
        select(
            select(submissions.c.id)
            .where(
                submissions.c.form_id == form_id,
                submissions.c.status == status,
                submissions.c.is_read == is_read,
                submissions.c.id > after,
                *in_time(wanted),
            )
            .order_by(submissions.c.id)
            .limit(limit)
            .subquery()
            .c.id
        )
        for status, is_read in wanted.filings
    ]
    united = union_all(*arms).subquery()
    return select(united.c.id).order_by(united.c.id).limit(limit)
