"""Queries that look for words in submissions."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.search import conditions
from backend.search.store import number_of
from backend.search.words import Query
from backend.submissions.store import Filter, Forms, ids_of_forms, in_time, is_filed, newest_of
from backend.tables import forms, search_documents, search_late, submissions

# A hundred times a page: fewer than a page among them means that there are few at all.
_CANDIDATES = 5_000
_NEWEST = 2_000


@dataclass(frozen=True, slots=True)
class Unindexed:
    """A submission that the index does not have yet; ``payload`` is JSON text."""

    id: str
    payload: str


async def newest_indexed(
    connection: AsyncConnection,
    among: Forms,
    wanted: Filter,
    query: Query,
    before: str | None,
    limit: int,
) -> list[str]:
    """The ids of the forms' indexed submissions that a query finds, newest first, of those older
    than ``before``."""
    form_ids = await ids_of_forms(connection, among)
    if not form_ids:
        return []
    if connection.dialect.name == "sqlite":
        ids = await _newest_of_stem(connection, form_ids, wanted, query, before, limit)
    else:
        ids = await _among_newest(connection, among, form_ids, wanted, query, before, limit)
    if len(ids) == limit:
        return ids
    return await _by_index(connection, form_ids, wanted, query, before, limit)


async def _by_index(
    connection: AsyncConnection,
    form_ids: Sequence[str],
    wanted: Filter,
    query: Query,
    before: str | None,
    limit: int,
) -> list[str]:
    dialect = connection.dialect.name
    number = conditions.number(dialect)
    matching = (
        select(search_documents.c.submission_id, number.label("number"))
        .select_from(conditions.documents(dialect))
        .where(
            conditions.is_found(dialect, query, form_ids, wanted.filings),
            *_in_range(number, wanted, before),
        )
    )
    # PostgreSQL would rather look at every document in turn than gather a few and sort them.
    found = (
        matching.subquery("found")
        if dialect == "sqlite"
        else matching.cte("found").prefix_with("MATERIALIZED")
    )
    statement = (
        select(submissions.c.id)
        .join(found, found.c.submission_id == submissions.c.id)
        .where(is_filed(wanted), *in_time(wanted))
        # The ids of equal numbers are in the order of their numbers, too.
        .order_by(found.c.number.desc())
        .limit(limit)
    )
    if before is not None:
        statement = statement.where(submissions.c.id < before)
    return list((await connection.execute(statement)).scalars())


async def _among_newest(
    connection: AsyncConnection,
    among: Forms,
    form_ids: Sequence[str],
    wanted: Filter,
    query: Query,
    before: str | None,
    limit: int,
) -> list[str]:
    """The newest found among some submissions. PostgreSQL gathers all rows of a word before it
    sorts them: when there are many, enough of them are here already."""
    dialect = connection.dialect.name
    newest = newest_of(dialect, among, wanted, before, _NEWEST).subquery("newest")
    statement = (
        select(newest.c.id)
        .join(search_documents, search_documents.c.submission_id == newest.c.id)
        .where(conditions.is_found(dialect, query, form_ids, wanted.filings))
        .order_by(newest.c.id.desc())
        .limit(limit)
    )
    return list((await connection.execute(statement)).scalars())


async def _newest_of_stem(
    connection: AsyncConnection,
    form_ids: Sequence[str],
    wanted: Filter,
    query: Query,
    before: str | None,
    limit: int,
) -> list[str]:
    """The newest found among some candidates. FTS5 gathers all rows of a beginning that it has no
    index of before it gives the first: when there are many, enough of them are here already."""
    stem, number = query.stem, conditions.number("sqlite")
    if stem is None:
        return []
    candidates = (
        select(number.label("number"))
        .where(
            conditions.is_found("sqlite", stem, form_ids, wanted.filings),
            *_in_range(number, wanted, before),
        )
        .order_by(number.desc())
        .limit(_CANDIDATES)
    )
    chosen = candidates.subquery("candidates")
    words = literal(" ").concat(search_documents.c.words)
    statement = (
        select(submissions.c.id)
        .select_from(
            chosen.join(search_documents, search_documents.c.number == chosen.c.number).join(
                submissions, submissions.c.id == search_documents.c.submission_id
            )
        )
        .where(func.instr(words, f" {query.prefix}") > 0, is_filed(wanted), *in_time(wanted))
        .order_by(chosen.c.number.desc())
        .limit(limit)
    )
    if before is not None:
        statement = statement.where(submissions.c.id < before)
    return list((await connection.execute(statement)).scalars())


def _in_range(
    number: ColumnElement[int], wanted: Filter, before: str | None
) -> list[ColumnElement[bool]]:
    """What is known of a document's number, which may be one beside its id's."""
    conditions = [number <= number_of(end) + 1 for end in (before, wanted.end_id) if end]
    if wanted.first_id is not None:
        conditions.append(number >= number_of(wanted.first_id) - 1)
    return conditions


async def newest_unindexed(
    connection: AsyncConnection, among: Forms, wanted: Filter, before: str | None, limit: int
) -> tuple[list[Unindexed], str | None]:
    """The forms' submissions that are not indexed yet, newest first, of those older than
    ``before``; and if there were too many to look at, the id at which this came to its end."""
    recent, recent_end = await _recent(connection, among, wanted, before, limit)
    late, late_end = await _late(connection, among, wanted, before, limit)
    end = max(filter(None, (recent_end, late_end)), default=None)
    ids = {*recent, *late}
    statement = (
        select(submissions.c.id, submissions.c.payload)
        .where(submissions.c.id.in_(ids))
        .order_by(submissions.c.id.desc())
    )
    rows = await connection.execute(statement) if ids else ()
    return [Unindexed(row.id, row.payload) for row in rows if end is None or row.id >= end], end


async def _recent(
    connection: AsyncConnection, among: Forms, wanted: Filter, before: str | None, limit: int
) -> tuple[Sequence[str], str | None]:
    statement = newest_of(
        connection.dialect.name,
        among,
        wanted,
        before,
        limit,
        conditions.is_recent(submissions.c.id),
        conditions.is_unindexed(submissions.c.id),
    )
    ids = (await connection.execute(statement)).scalars().all()
    return ids, ids[-1] if len(ids) == limit else None


async def _late(
    connection: AsyncConnection, among: Forms, wanted: Filter, before: str | None, limit: int
) -> tuple[Sequence[str], str | None]:
    noted = select(search_late.c.submission_id).order_by(search_late.c.submission_id.desc())
    if before is not None:
        noted = noted.where(search_late.c.submission_id < before)
    ids = (await connection.execute(noted.limit(limit))).scalars().all()
    if not ids:
        return (), None
    statement = (
        select(submissions.c.id)
        # Not to be looked for among all that the form has, by its index.
        .join(forms, forms.c.id == func.coalesce(submissions.c.form_id, ""))
        .where(
            submissions.c.id.in_(ids),
            among.condition,
            is_filed(wanted),
            *in_time(wanted),
            conditions.is_unindexed(submissions.c.id),
        )
    )
    of_forms = (await connection.execute(statement)).scalars().all()
    return of_forms, ids[-1] if len(ids) == limit else None
