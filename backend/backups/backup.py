"""Making a backup, while the product runs or not."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import SpooledTemporaryFile, TemporaryDirectory
from typing import IO

import orjson

from backend.backups import archive, postgres, sqlite, store
from backend.backups.archive import ArchiveWriter, BackupError, FileEntry, Manifest
from backend.backups.store import Facts, StoredFileRow
from backend.db import Connection, Database
from backend.files import FileStore, create_file_store
from backend.schema import current_revision
from contracts import VERSION
from contracts.runtime.clock import Clock
from contracts.runtime.settings import Settings

Progress = Callable[[str, int, int], None]
"""Told what is under way, how much of it is done, and of how much."""

SECRET_FILES = ("secret-key", "internal-token")
_IN_MEMORY_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Copy:
    """A copy of the database: the file, and a transaction that sees what the copy holds."""

    path: Path
    connection: Connection
    schema: str
    facts: Facts


async def back_up(
    settings: Settings,
    target: Path,
    clock: Clock,
    progress: Progress,
    *,
    with_bucket: bool = False,
) -> Manifest:
    """Writes the archive ``target``; what it says of itself.

    The database is copied first, as it is at one moment, and then the files that this copy names:
    a file is stored before its row, so none is too new. One that is deleted meanwhile is left out.
    Files in a bucket are named, not copied, unless ``with_bucket``.

    Raises:
        BackupError: something is in the way; there is no archive then.
        Rejected: UNAVAILABLE.
    """
    directory = _directory_of(target)
    created_at = clock.now_ms()
    bucket = settings.files_url if settings.files_url.startswith("s3://") else None
    skips_files = bucket is not None and not with_bucket
    try:
        with TemporaryDirectory(prefix=".formflow-backup-", dir=directory) as work:
            async with _copied(settings, Path(work), progress) as copy:
                with archive.written(target) as writer:
                    size, sha256 = writer.add_path(archive.DATABASE, copy.path)
                    secrets = _add_local_files(writer, settings)
                    await _add_index(writer, copy.connection, Path(work) / archive.INDEX)
                    missing = 0
                    if not skips_files:
                        missing = await _add_files(writer, copy, settings, progress)
                    manifest = Manifest(
                        format=archive.FORMAT,
                        version=VERSION,
                        schema=copy.schema,
                        created_at=created_at,
                        database="sqlite" if _is_sqlite(settings) else "postgresql",
                        database_bytes=size,
                        database_sha256=sha256,
                        epoch=copy.facts.epoch,
                        revision=copy.facts.revision,
                        forms=copy.facts.forms,
                        submissions=copy.facts.submissions,
                        files=copy.facts.files,
                        file_bytes=copy.facts.file_bytes,
                        missing_files=missing,
                        files_at=bucket if skips_files else None,
                        secrets=secrets,
                    )
                    writer.add_manifest(manifest)
    except OSError as error:
        raise BackupError(f"the backup cannot be written: {error}") from error
    return manifest


def _directory_of(target: Path) -> Path:
    if target.exists():
        raise BackupError(f"{target} exists already")
    return target.absolute().parent


def _database_file(settings: Settings) -> Path:
    path = Path(settings.sqlalchemy_url().partition(":///")[2])
    if not path.exists():
        raise BackupError(f"there is no database at {path}")
    return path


@asynccontextmanager
async def _copied(settings: Settings, work: Path, progress: Progress) -> AsyncIterator[_Copy]:
    path = work / archive.DATABASE
    if _is_sqlite(settings):
        source = _database_file(settings)
        await asyncio.to_thread(
            sqlite.copy_database, source, path, lambda *pages: progress("database", *pages)
        )
        async with _opened(f"sqlite+aiosqlite:///{path}") as (database, connection):
            yield await _described(path, database, connection)
        return
    async with _opened(settings.sqlalchemy_url()) as (database, connection):
        progress("database", 0, 1)
        snapshot = await store.export_snapshot(connection)
        await asyncio.to_thread(postgres.dump, settings.database_url, snapshot, path)
        progress("database", 1, 1)
        yield await _described(path, database, connection)


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[tuple[Database, Connection]]:
    database = Database(url)
    try:
        async with database.read() as connection:
            yield database, connection
    finally:
        await database.close()


async def _described(path: Path, database: Database, connection: Connection) -> _Copy:
    schema = await current_revision(database)
    facts = await store.facts(connection) if schema else None
    if schema is None or facts is None:
        raise BackupError("there is nothing to back up: no backend has run on this database yet")
    return _Copy(path, connection, schema, facts)


def _add_local_files(writer: ArchiveWriter, settings: Settings) -> list[str]:
    """Adds the secrets of the data directory, and the plans; the names of the secrets."""
    names = [name for name in SECRET_FILES if (settings.data_dir / name).exists()]
    for name in names:
        writer.add_path(archive.SECRETS + name, settings.data_dir / name)
    if settings.plans_file is not None:
        writer.add_path(archive.PLANS, settings.plans_file)
    return names


async def _add_index(writer: ArchiveWriter, connection: Connection, path: Path) -> None:
    with path.open("wb") as index:
        async for page in store.file_pages(connection):
            index.write(b"".join(map(_line, page)))
    writer.add_path(archive.INDEX, path)


def _line(row: StoredFileRow) -> bytes:
    entry = FileEntry(row.object_key, row.size, row.sha256)
    return orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE)


async def _add_files(
    writer: ArchiveWriter, copy: _Copy, settings: Settings, progress: Progress
) -> int:
    """Adds the uploaded files; how many were gone."""
    files = create_file_store(settings)
    done = missing = 0
    async for page in store.file_pages(copy.connection):
        for row in page:
            with SpooledTemporaryFile(_IN_MEMORY_BYTES) as content:
                if await _fetch(files, row, content):
                    content.seek(0)
                    writer.add(archive.FILES + row.object_key, content, row.size)
                else:
                    missing += 1
            done += row.size
            progress("files", done, copy.facts.file_bytes)
    return missing


async def _fetch(files: FileStore, row: StoredFileRow, content: IO[bytes]) -> bool:
    stored = await files.get(row.object_key)
    if stored is None:
        return False
    async for chunk in stored.chunks:
        content.write(chunk)
    if content.tell() != row.size:
        raise BackupError(
            f"the file {row.object_key} has {content.tell()} bytes instead of {row.size}: "
            "the file store is damaged"
        )
    return True


def _is_sqlite(settings: Settings) -> bool:
    return settings.sqlalchemy_url().startswith("sqlite")
