"""Queries of an import."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, fields

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.access import Principal
from backend.forms.store import within
from backend.search.store import note_all_late
from backend.submissions.file_store import FileRow
from backend.submissions.store import is_within
from backend.tables import accounts, files, forms, submissions

CHECK = "import"
"""The check that the decision trace of an imported submission ends with."""


@dataclass(frozen=True, slots=True)
class ImportedRow:
    """A submission to store; ``payload``, ``meta`` and ``trace`` are JSON text."""

    id: str
    form_id: str
    received_at: int
    status: str
    payload: str
    meta: str
    trace: str
    is_read: bool
    charged: int = 0


@dataclass(frozen=True, slots=True)
class FileTarget:
    """The submission that a file is to belong to; ``trace`` is JSON text, ``plan`` the name of the
    account's plan."""

    form_id: str
    received_at: int
    trace: str
    plan: str


@dataclass(frozen=True, slots=True)
class ImportTarget:
    """The form to import to."""

    id: str
    retention_days: int | None


async def hold_form(
    connection: AsyncConnection, principal: Principal, id: str
) -> ImportTarget | None:
    """A form within the caller's reach; until the transaction ends nobody deletes it, or imports to
    it, where the database locks rows."""
    statement = (
        select(forms.c.id, forms.c.retention_days)
        .where(forms.c.id == id, within(principal.account_id, principal.reach))
        .with_for_update()
    )
    row = (await connection.execute(statement)).first()
    return ImportTarget(row.id, row.retention_days) if row else None


async def known_ids(
    connection: AsyncConnection, form_id: str, ids: Collection[str]
) -> frozenset[str]:
    """Those of the ids that submissions of the form have."""
    statement = select(submissions.c.id).where(
        submissions.c.id.in_(ids), submissions.c.form_id == form_id
    )
    return frozenset((await connection.execute(statement)).scalars())


async def insert_submissions(connection: AsyncConnection, rows: Sequence[ImportedRow]) -> None:
    """Adds submissions."""
    await connection.execute(insert(submissions), [asdict(row) for row in rows])
    # Their ids are older than the search index reaches back by itself.
    await note_all_late(connection, [row.id for row in rows])


async def find_file_target(
    connection: AsyncConnection, principal: Principal, submission_id: str
) -> FileTarget | None:
    """A submission within the caller's reach."""
    statement = (
        select(submissions.c.form_id, submissions.c.received_at, submissions.c.trace)
        .add_columns(accounts.c.plan)
        .join(forms, forms.c.id == submissions.c.form_id)
        .join(accounts, accounts.c.id == forms.c.account_id)
        .where(submissions.c.id == submission_id, is_within(principal))
    )
    row = (await connection.execute(statement)).first()
    return FileTarget(**row._mapping) if row else None


async def file_at(connection: AsyncConnection, submission_id: str, position: int) -> FileRow | None:
    """The file that a submission has at a position."""
    columns = [files.c[field.name] for field in fields(FileRow)]
    statement = select(*columns).where(
        files.c.submission_id == submission_id, files.c.position == position
    )
    row = (await connection.execute(statement)).first()
    return FileRow(**row._mapping) if row else None


async def insert_file(connection: AsyncConnection, row: FileRow, position: int) -> None:
    """Adds a file."""
    await connection.execute(insert(files).values(position=position, **asdict(row)))
