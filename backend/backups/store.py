"""Queries on a database that is backed up or was restored."""

import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.tables import config_state, files, forms, submissions

_PAGE = 500


@dataclass(frozen=True, slots=True)
class Facts:
    """What a database holds; ``file_bytes`` are those of the uploaded files."""

    epoch: str
    revision: int
    forms: int
    submissions: int
    files: int
    file_bytes: int


@dataclass(frozen=True, slots=True)
class StoredFileRow:
    """An uploaded file; ``size`` in bytes, ``sha256`` hex."""

    id: str
    object_key: str
    size: int
    sha256: str


async def export_snapshot(connection: AsyncConnection) -> str:
    """Begins a transaction that sees one state of a PostgreSQL database; the name by which
    pg_dump sees the same, for as long as the transaction lasts."""
    await connection.execution_options(isolation_level="REPEATABLE READ")
    return str((await connection.execute(text("SELECT pg_export_snapshot()"))).scalar_one())


async def facts(connection: AsyncConnection) -> Facts | None:
    """What the database holds; None if no backend has ever run on it."""
    state = (
        await connection.execute(select(config_state.c.epoch, config_state.c.revision))
    ).first()
    if state is None:
        return None
    live = forms.c.deleted_at.is_(None)
    sums = select(func.count(files.c.id), func.coalesce(func.sum(files.c.size), 0))
    file_count, file_bytes = (await connection.execute(sums)).one()
    return Facts(
        epoch=state.epoch,
        revision=state.revision,
        forms=(await connection.execute(select(func.count(forms.c.id)).where(live))).scalar_one(),
        submissions=(await connection.execute(select(func.count(submissions.c.id)))).scalar_one(),
        files=file_count,
        file_bytes=int(file_bytes),
    )


async def file_pages(connection: AsyncConnection) -> AsyncIterator[Sequence[StoredFileRow]]:
    """Every uploaded file, in pages."""
    after = ""
    while True:
        statement = (
            select(files.c.id, files.c.object_key, files.c.size, files.c.sha256)
            .where(files.c.id > after)
            .order_by(files.c.id)
            .limit(_PAGE)
        )
        page = [StoredFileRow(**row._mapping) for row in await connection.execute(statement)]
        if not page:
            return
        yield page
        after = page[-1].id


async def begin_epoch(connection: AsyncConnection) -> str:
    """Gives the database's history a new name, which is returned: gateways that knew what came
    after the backup take nothing of it for granted any more."""
    epoch = secrets.token_hex(8)
    statement = update(config_state).values(epoch=epoch, revision=config_state.c.revision + 1)
    await connection.execute(statement)
    return epoch
