"""The commit of a batch: the one transaction that makes submissions durable.

Guarantees: when ``commit`` returns, every item it calls stored is on a disk that has been fsynced;
an id is stored at most once, whatever is sent again; nothing is stored for a form that is gone or
not live, or with a key that is revoked, even if a gateway has not heard of it yet. Each item gets
its own result: one bad item does not spoil the batch.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Select, bindparam, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.db import Database
from backend.tables import api_keys, forms, submissions
from contracts.forms import FormStatus
from contracts.problems import Problem
from contracts.submissions import ItemResult, ItemStatus, Submission

_ATTEMPTS = 3

# Share-locked where the database locks rows: a form that is deleted or a key that is revoked in a
# concurrent transaction waits for this commit, or this commit sees it.
_live_forms = (
    select(forms.c.id, forms.c.status, forms.c.account_id)
    .where(forms.c.id.in_(bindparam("ids", expanding=True)), forms.c.deleted_at.is_(None))
    .with_for_update(read=True)
)
_valid_keys = (
    select(api_keys.c.key_id, api_keys.c.account_id)
    .where(api_keys.c.key_id.in_(bindparam("ids", expanding=True)), api_keys.c.revoked_at.is_(None))
    .with_for_update(read=True)
)
_known_ids = select(submissions.c.id, submissions.c.received_at).where(
    submissions.c.id.in_(bindparam("ids", expanding=True))
)
_insert = insert(submissions)


async def commit(database: Database, batch: Sequence[Submission]) -> list[ItemResult]:
    """Stores what may be stored; the results are in the order of the batch.

    Raises:
        Rejected: UNAVAILABLE, when the database is; nothing of the batch is stored then.
    """
    attempt = 1
    while True:
        try:
            async with database.write() as connection:
                return await _commit(connection, batch)
        except IntegrityError:
            # Another backend stored one of these ids between this transaction's look and its
            # insert. The next look sees it.
            if attempt == _ATTEMPTS:
                raise
            attempt += 1


async def _commit(connection: AsyncConnection, batch: Sequence[Submission]) -> list[ItemResult]:
    refusals = await _refusals(connection, batch)
    known = await _pairs(connection, _known_ids, {item.id for item in batch})
    results = []
    rows = []
    for item, problem in zip(batch, refusals, strict=True):
        if item.id in known:
            results.append(ItemResult(ItemStatus.REPLAYED, item.id, known[item.id]))
        elif problem is not None:
            results.append(ItemResult(ItemStatus.REJECTED, item.id, item.received_at, problem.slug))
        else:
            known[item.id] = item.received_at
            rows.append(asdict(item))
            results.append(ItemResult(ItemStatus.STORED, item.id, item.received_at))
    if rows:
        await connection.execute(_insert, rows)
    return results


async def _refusals(
    connection: AsyncConnection, batch: Sequence[Submission]
) -> list[Problem | None]:
    """For each item, why it may not be stored now, or None."""
    found = await connection.execute(_live_forms, {"ids": list({item.form_id for item in batch})})
    held = {row.id: row for row in found}
    key_ids = {item.key_id for item in batch if item.key_id is not None}
    keys = await _pairs(connection, _valid_keys, key_ids) if key_ids else {}

    def refusal(item: Submission) -> Problem | None:
        form = held.get(item.form_id)
        if form is None:
            return Problem.FORM_NOT_FOUND
        if form.status != FormStatus.LIVE.value:
            return Problem.FORM_NOT_LIVE
        if item.key_id is not None and keys.get(item.key_id) != form.account_id:
            return Problem.INVALID_KEY
        return None

    return [refusal(item) for item in batch]


async def _pairs(
    connection: AsyncConnection, statement: Select[str, Any], ids: set[str]
) -> dict[str, Any]:
    rows = await connection.execute(statement, {"ids": list(ids)})
    return {first: second for first, second in rows}
