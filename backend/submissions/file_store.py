"""Queries on the files of submissions."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.access import Principal
from backend.submissions.store import is_within
from backend.tables import files, forms, submissions
from backend.transaction import Transaction

_columns = (
    files.c.id,
    files.c.submission_id,
    files.c.field,
    files.c.name,
    files.c.size,
    files.c.content_type,
    files.c.sha256,
    files.c.object_key,
)

_of_submission = (
    select(*_columns).where(files.c.submission_id == bindparam("of")).order_by(files.c.position)
)


@dataclass(frozen=True, slots=True)
class FileRow:
    """A file as it is stored; ``size`` in bytes, ``sha256`` in hex."""

    id: str
    submission_id: str
    field: str
    name: str
    size: int
    content_type: str
    sha256: str
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


def files_in(transaction: Transaction, submission_id: str) -> list[FileRow]:
    """The files of a submission, in the order of the form."""
    found = transaction.rows(_of_submission, {"of": submission_id})
    return [FileRow(**row._asdict()) for row in found]


async def find_file(
    connection: AsyncConnection, submission_id: str, id: str, principal: Principal | None
) -> FileRow | None:
    """A file of a submission to a form that is not deleted; with a principal, only if the
    submission is within its reach."""
    alive = select(forms.c.id).where(forms.c.deleted_at.is_(None))
    is_shown = submissions.c.form_id.in_(alive) if principal is None else is_within(principal)
    statement = (
        select(*_columns)
        .join(submissions, submissions.c.id == files.c.submission_id)
        .where(files.c.id == id, files.c.submission_id == submission_id, is_shown)
    )
    row = (await connection.execute(statement)).first()
    return FileRow(**row._mapping) if row else None


async def delete_files_of_submissions(
    connection: AsyncConnection, submission_ids: Collection[str]
) -> list[str]:
    """Deletes the rows of these submissions' files, which must happen before the submissions go;
    returns the keys of the objects, to be removed after the commit."""
    condition = files.c.submission_id.in_(submission_ids)
    deleted = await connection.execute(delete(files).where(condition).returning(files.c.object_key))
    return list(deleted.scalars())


async def known_keys(connection: AsyncConnection, keys: Collection[str]) -> set[str]:
    """Those of the object keys that a file has."""
    statement = select(files.c.object_key).where(files.c.object_key.in_(keys))
    return set((await connection.execute(statement)).scalars())
