"""Queries on submissions."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.tables import api_keys, forms, submission_aliases, submissions

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
    _key,
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
    key_id: str | None


@dataclass(frozen=True, slots=True)
class ExportRow:
    """What of a submission goes into an export."""

    id: str
    received_at: int
    status: str
    payload: str


@dataclass(frozen=True, slots=True)
class Filter:
    """Which submissions: all if empty. Times are Unix milliseconds, ``until`` is exclusive."""

    status: str | None = None
    since: int | None = None
    until: int | None = None


async def list_submissions(
    connection: AsyncConnection, form_id: str, wanted: Filter, before: str | None, limit: int
) -> list[SubmissionRow]:
    """The form's submissions, newest first, those older than ``before``."""
    statement = _select().where(submissions.c.form_id == form_id)
    if wanted.status is not None:
        statement = statement.where(submissions.c.status == wanted.status)
    if wanted.since is not None:
        statement = statement.where(submissions.c.received_at >= wanted.since)
    if wanted.until is not None:
        statement = statement.where(submissions.c.received_at < wanted.until)
    if before is not None:
        statement = statement.where(submissions.c.id < before)
    statement = statement.order_by(submissions.c.id.desc()).limit(limit)
    return [SubmissionRow(**row._mapping) for row in await connection.execute(statement)]


async def page_of_form(
    connection: AsyncConnection, form_id: str, after: str, limit: int
) -> list[ExportRow]:
    """The next rows of a form, oldest first."""
    statement = (
        select(
            submissions.c.id,
            submissions.c.received_at,
            submissions.c.status,
            submissions.c.payload,
        )
        .where(submissions.c.form_id == form_id, submissions.c.id > after)
        .order_by(submissions.c.id)
        .limit(limit)
    )
    return [ExportRow(**row._mapping) for row in await connection.execute(statement)]


async def find_submission(
    connection: AsyncConnection, account_id: str, id: str
) -> SubmissionRow | None:
    """A submission to a form of the account, by its id or by an alias of it."""
    alias = select(submission_aliases.c.submission_id).where(submission_aliases.c.id == id)
    statement = _select().where(
        submissions.c.id == func.coalesce(alias.scalar_subquery(), id),
        submissions.c.form_id.in_(_forms_of(account_id)),
    )
    row = (await connection.execute(statement)).first()
    return SubmissionRow(**row._mapping) if row else None


async def set_status(connection: AsyncConnection, account_id: str, id: str, status: str) -> bool:
    """Files a submission otherwise; whether there was one."""
    statement = (
        update(submissions)
        .where(submissions.c.id == id, submissions.c.form_id.in_(_forms_of(account_id)))
        .values(status=status)
        .returning(submissions.c.id)
    )
    return (await connection.execute(statement)).first() is not None


async def delete_submission(connection: AsyncConnection, account_id: str, id: str) -> bool:
    """Deletes a submission; whether there was one."""
    statement = (
        delete(submissions)
        .where(submissions.c.id == id, submissions.c.form_id.in_(_forms_of(account_id)))
        .returning(submissions.c.id)
    )
    return (await connection.execute(statement)).first() is not None


def _select() -> Select[Any]:
    return select(*_columns).select_from(
        submissions.outerjoin(api_keys, api_keys.c.key_id == submissions.c.key_id)
    )


def _forms_of(account_id: str) -> Select[Any]:
    return select(forms.c.id).where(forms.c.account_id == account_id, forms.c.deleted_at.is_(None))
