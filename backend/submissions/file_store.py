"""Queries on the files of submissions."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.tables import files, forms, submissions

_columns = (
    files.c.id,
    files.c.submission_id,
    files.c.field,
    files.c.name,
    files.c.size,
    files.c.content_type,
    files.c.object_key,
)


@dataclass(frozen=True, slots=True)
class FileRow:
    """A file as it is stored; ``size`` in bytes."""

    id: str
    submission_id: str
    field: str
    name: str
    size: int
    content_type: str
    object_key: str


async def files_of(
    connection: AsyncConnection, submission_ids: Sequence[str]
) -> dict[str, list[FileRow]]:
    """The files of each of these submissions, in the order of the form."""
    found: dict[str, list[FileRow]] = defaultdict(list)
    if not submission_ids:
        return found
    statement = (
        select(*_columns)
        .where(files.c.submission_id.in_(submission_ids))
        .order_by(files.c.submission_id, files.c.position)
    )
    for row in await connection.execute(statement):
        found[row.submission_id].append(FileRow(**row._mapping))
    return found


async def find_file(
    connection: AsyncConnection, submission_id: str, id: str, account_id: str | None
) -> FileRow | None:
    """A file of a submission; with an account, only if the submission is the account's."""
    statement = select(*_columns).where(files.c.id == id, files.c.submission_id == submission_id)
    if account_id is not None:
        statement = statement.where(_is_of_account(account_id))
    row = (await connection.execute(statement)).first()
    return FileRow(**row._mapping) if row else None


async def delete_files_of_submissions(
    connection: AsyncConnection, account_id: str, submission_ids: Sequence[str]
) -> list[str]:
    """Deletes the rows of these submissions' files, as far as they are the account's; returns the
    keys of the objects, to be removed after the commit."""
    return await _delete(
        connection, files.c.submission_id.in_(submission_ids) & _is_of_account(account_id)
    )


async def delete_files_of_form(connection: AsyncConnection, form_id: str) -> list[str]:
    """Deletes the rows of a form's files, which must happen before its submissions go; returns the
    keys of the objects, to be removed after the commit."""
    of_form = select(submissions.c.id).where(submissions.c.form_id == form_id)
    return await _delete(connection, files.c.submission_id.in_(of_form))


async def known_keys(connection: AsyncConnection, keys: Collection[str]) -> set[str]:
    """Those of the object keys that a file has."""
    statement = select(files.c.object_key).where(files.c.object_key.in_(keys))
    return set((await connection.execute(statement)).scalars())


async def _delete(connection: AsyncConnection, condition: ColumnElement[bool]) -> list[str]:
    deleted = await connection.execute(delete(files).where(condition).returning(files.c.object_key))
    return list(deleted.scalars())


def _is_of_account(account_id: str) -> ColumnElement[bool]:
    live = forms.c.deleted_at.is_(None)
    return files.c.submission_id.in_(
        select(submissions.c.id)
        .join(forms, forms.c.id == submissions.c.form_id)
        .where(forms.c.account_id == account_id, live)
    )
