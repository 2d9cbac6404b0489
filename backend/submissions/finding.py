"""Pages of submissions, and of those that have the words which are looked for.

What the index does not have yet is looked through text by text, so that a search finds a submission
from its commit on. That part of the work is bounded: a page ends where the bound was reached, and
may be short, or even empty, while ``next_before`` says that there is more.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from backend.db import Connection
from backend.search.words import Query
from backend.submissions import search_store, store
from backend.submissions.search_store import Unindexed
from backend.submissions.store import Filter, Forms, SubmissionRow

UNINDEXED_MAX = 1_000
"""Submissions that one page looks through."""


@dataclass(frozen=True, slots=True)
class Found:
    """Submissions, newest first; those of the next page come after ``next_before``, if not None."""

    rows: Sequence[SubmissionRow]
    next_before: str | None


async def find(
    connection: Connection,
    among: Forms,
    wanted: Filter,
    query: Query | None,
    before: str | None,
    limit: int,
) -> Found:
    """A page of the forms' submissions, with a query only of those that it finds."""
    if query is None:
        ids, end = await store.newest(connection, among, wanted, before, limit + 1), None
    elif query.is_empty:
        return Found((), None)
    else:
        ids, end = await _search(connection, among, wanted, query, before, limit + 1)
    if len(ids) > limit:
        end = ids[limit - 1]
    return Found(await store.rows_of(connection, ids[:limit]), end)


async def _search(
    connection: Connection,
    among: Forms,
    wanted: Filter,
    query: Query,
    before: str | None,
    limit: int,
) -> tuple[list[str], str | None]:
    """The ids found, and the one at which the search ended before its time, if it did."""
    # In this order: what is indexed meanwhile is then seen twice rather than not at all.
    unindexed, end = await search_store.newest_unindexed(
        connection, among, wanted, before, UNINDEXED_MAX
    )
    indexed = await search_store.newest_indexed(connection, among, wanted, query, before, limit)
    # Beside the event loop: a thousand texts take a few hundredths of a second.
    matching = await asyncio.to_thread(_matching, query, unindexed) if unindexed else []
    ids = sorted({*matching, *indexed}, reverse=True)
    return [id for id in ids if end is None or id >= end][:limit], end


def _matching(query: Query, unindexed: Sequence[Unindexed]) -> list[str]:
    return [item.id for item in unindexed if query.matches(item.payload)]
