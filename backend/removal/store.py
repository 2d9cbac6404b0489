"""Queries that remove for good, some rows at a time."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, delete, func, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.delivery.bulk_store import remove_of_submissions
from backend.forms.store import has_rows
from backend.submissions.store import Filter
from backend.tables import accounts, config_state, files, forms, idempotency_keys, submissions

_form_key = tuple_(idempotency_keys.c.form_id, idempotency_keys.c.key)


@dataclass(frozen=True, slots=True)
class Removed:
    """How many rows a transaction removed, and the keys of the files that are to be removed after
    its commit."""

    count: int = 0
    object_keys: Sequence[str] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class KeepingForm:
    """A form whose submissions may be kept for a time: ``days`` is its own setting, and its
    account's ``plan`` may say less."""

    id: str
    account_id: str
    days: int | None
    plan: str


async def buried_forms(connection: AsyncConnection) -> list[str]:
    """The ids of deleted forms of which something is still there."""
    statement = select(forms.c.id).where(forms.c.deleted_at.is_not(None), has_rows())
    return list((await connection.execute(statement)).scalars())


async def remove_submissions(
    connection: AsyncConnection, form_id: str, before: str | None, limit: int
) -> Removed:
    """Removes some of the form's submissions, ``limit`` at most and only those of an id below
    ``before``, with the rows of their files. None that another transaction holds."""
    chosen = select(submissions.c.id).where(*_of_form(form_id, before)).limit(limit)
    chosen = chosen.with_for_update(skip_locked=True)
    ids = list((await connection.execute(chosen)).scalars())
    if not ids:
        return Removed()
    of_these = files.c.submission_id.in_(ids)
    keys = await connection.execute(delete(files).where(of_these).returning(files.c.object_key))
    object_keys = list(keys.scalars())
    await remove_of_submissions(connection, ids)
    await connection.execute(delete(submissions).where(submissions.c.id.in_(ids)))
    return Removed(len(ids), object_keys)


async def remove_idempotency_keys(connection: AsyncConnection, form_id: str, limit: int) -> int:
    """Removes the form's idempotency keys, ``limit`` at most; how many it were."""
    chosen = (
        select(idempotency_keys.c.form_id, idempotency_keys.c.key)
        .where(idempotency_keys.c.form_id == form_id)
        .limit(limit)
    )
    deleted = await connection.execute(delete(idempotency_keys).where(_form_key.in_(chosen)))
    return deleted.rowcount


async def remove_tombstones(connection: AsyncConnection, freed_at: int, limit: int) -> int:
    """Removes the rows of forms deleted at ``freed_at`` or before of which nothing else is left;
    how many it were."""
    chosen = select(forms.c.id).where(forms.c.deleted_at <= freed_at, ~has_rows()).limit(limit)
    return (await connection.execute(delete(forms).where(forms.c.id.in_(chosen)))).rowcount


async def keeping_forms(connection: AsyncConnection, *, of_all: bool) -> list[KeepingForm]:
    """The forms that have a retention of their own, or all."""
    statement = (
        select(
            forms.c.id, forms.c.account_id, forms.c.retention_days.label("days"), accounts.c.plan
        )
        .join(accounts, accounts.c.id == forms.c.account_id)
        .where(forms.c.deleted_at.is_(None))
        .order_by(forms.c.id)
    )
    if not of_all:
        statement = statement.where(forms.c.retention_days.is_not(None))
    return [KeepingForm(**row._mapping) for row in await connection.execute(statement)]


async def count_submissions(connection: AsyncConnection, form_id: str, before: str) -> int:
    """How many submissions of the form have an id below ``before``."""
    statement = select(func.count()).where(*_of_form(form_id, before))
    return int((await connection.execute(statement)).scalar_one())


async def retention_ran_at(connection: AsyncConnection) -> int | None:
    """When the last whole run of the retention ended, in Unix milliseconds."""
    return (await connection.execute(select(config_state.c.retention_ran_at))).scalar()


async def stamp_retention(connection: AsyncConnection, now_ms: int) -> None:
    """Notes that a run of the retention has ended."""
    await connection.execute(update(config_state).values(retention_ran_at=now_ms))


def _of_form(form_id: str, before: str | None) -> list[ColumnElement[bool]]:
    conditions = [submissions.c.form_id == form_id]
    if before is not None:
        # Every way of filing is named: the index has them between the form and the id.
        statuses, marks = map(set, zip(*Filter().filings, strict=True))
        conditions += [
            submissions.c.status.in_(sorted(statuses)),
            submissions.c.is_read.in_(sorted(marks)),
            submissions.c.id < before,
        ]
    return conditions
