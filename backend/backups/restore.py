"""Restoring a backup into an empty place: all of it, checked, or nothing."""

import asyncio
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from tarfile import TarFile, TarInfo
from typing import IO

import orjson

from backend.backups import archive, postgres, sqlite, store
from backend.backups.archive import BackupError, Manifest
from backend.backups.backup import SECRET_FILES, Progress
from backend.db import Database
from backend.durable_directories import sync
from backend.file_port import BadKey, ContentMismatch
from backend.files import LocalFiles, create_file_store
from backend.internal.lease_store import Holding, holdings
from backend.schema import HEAD, current_revision, migrate
from contracts.runtime.settings import Settings

_PIECE_BYTES = 256 * 1024
_DATABASE_FILE = "formflow.db"
_PLAIN_FILES = {archive.PLANS, *(archive.SECRETS + name for name in SECRET_FILES)}


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored; ``held`` is the quota that gateways held when the backup was made."""

    manifest: Manifest
    epoch: str
    held: list[Holding]


async def restore(settings: Settings, source: Path, progress: Progress) -> Restored:
    """Makes the data directory of the settings from the archive ``source``, and fills the
    PostgreSQL database and the bucket, if the settings name them.

    The data directory appears under its name when everything has been checked. The database is
    brought to this version's schema and begins a new epoch: gateways that know what came after the
    backup forget it.

    Raises:
        BackupError: the place is not empty, or the archive damaged or of a newer version.
        Rejected: UNAVAILABLE.
    """
    target = settings.data_dir.absolute()
    await _refuse_taken_place(settings, target)
    staging = target.with_name(f".{target.name}.{secrets.token_hex(4)}.restoring")
    try:
        staging.mkdir(mode=0o700, parents=True)
        restored = await _Restoration(settings, staging, progress).run(source)
        _publish(staging, target)
    except OSError as error:
        raise BackupError(f"the backup cannot be restored: {error}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return restored


async def _refuse_taken_place(settings: Settings, target: Path) -> None:
    if _is_taken(target):
        raise BackupError(f"{target} is not empty: restore into a new directory, --data DIR")
    if settings.files_url and not settings.files_url.startswith("s3://"):
        raise BackupError(
            "files are restored into the data directory: unset FORMFLOW_FILES_URL, and move them "
            "to where it points afterwards"
        )
    if settings.database_url.startswith("sqlite"):
        raise BackupError(
            "the database is restored into the data directory: unset FORMFLOW_DATABASE_URL, and "
            "move the file to where it points afterwards"
        )
    if settings.database_url:
        database = Database(settings.sqlalchemy_url())
        try:
            if await current_revision(database) is not None:
                raise BackupError("FORMFLOW_DATABASE_URL names a database that is not empty")
        finally:
            await database.close()


def _is_taken(path: Path) -> bool:
    return path.exists() and not (path.is_dir() and next(path.iterdir(), None) is None)


class _Restoration:
    """One restoration, into a directory that is not in use yet."""

    def __init__(self, settings: Settings, staging: Path, progress: Progress) -> None:
        self._settings = settings
        self._staging = staging
        self._progress = progress
        self._kind = "postgresql" if settings.database_url else "sqlite"
        in_bucket = settings.files_url.startswith("s3://")
        self._files = create_file_store(settings) if in_bucket else LocalFiles(staging / "files")
        self._database = staging / _DATABASE_FILE
        self._index = staging / archive.INDEX

    async def run(self, source: Path) -> Restored:
        manifest = await self._unpack(source)
        self._index.unlink(missing_ok=True)
        url = f"sqlite+aiosqlite:///{self._database}"
        if self._kind == "postgresql":
            url = self._settings.sqlalchemy_url()
            await asyncio.to_thread(postgres.load, self._settings.database_url, self._database)
            self._database.unlink()
        else:
            await asyncio.to_thread(sqlite.check_database, self._database)
        await migrate(url)
        database = Database(url)
        try:
            async with database.write() as connection:
                epoch = await store.begin_epoch(connection)
                held = await holdings(connection)
        finally:
            await database.close()
        return Restored(manifest, epoch, held)

    async def _unpack(self, source: Path) -> Manifest:
        """Writes what the archive holds, and compares it with what the archive says it holds."""
        manifest, database_sha256, file_count = None, "", 0
        wanted = _entries(self._index)
        total = os.stat(source).st_size
        with archive.opened(source) as (tar, file):
            for member in tar:
                content = _content(tar, member)
                if member.name == archive.MANIFEST:
                    manifest = archive.parse_manifest(content.read())
                elif member.name == archive.DATABASE:
                    database_sha256 = _write(self._database, content)
                elif member.name == archive.INDEX:
                    _write(self._index, content)
                elif member.name.startswith(archive.FILES):
                    await self._put(member.name.removeprefix(archive.FILES), content, wanted)
                    file_count += 1
                elif member.name in _PLAIN_FILES:
                    _write(self._staging / Path(member.name).name, content)
                else:
                    raise BackupError(f"{source} is no backup: it holds {member.name!r}")
                self._progress("archive", file.tell(), total)
        if manifest is None:
            raise BackupError(f"{source} was cut off: it has no manifest")
        self._compare(manifest, database_sha256, file_count)
        return manifest

    async def _put(self, key: str, content: IO[bytes], wanted: Iterator[archive.FileEntry]) -> None:
        entry = next((entry for entry in wanted if entry.key == key), None)
        if entry is None:
            raise BackupError(f"the archive is damaged: it does not list the file {key!r}")
        try:
            await self._files.put(key, _pieces(content), entry.size, entry.sha256)
        except (ContentMismatch, BadKey):
            raise BackupError(f"the archive is damaged: {key!r} is not what it lists") from None

    def _compare(self, manifest: Manifest, database_sha256: str, file_count: int) -> None:
        if manifest.database != self._kind:
            raise BackupError(
                f"this is a backup of {manifest.database}, and the settings say {self._kind}: "
                "FORMFLOW_DATABASE_URL decides"
            )
        if manifest.schema > HEAD:
            raise BackupError(
                f"the backup is of version {manifest.version}, whose schema this one does not "
                "know: restore it with that version"
            )
        expected = 0 if manifest.files_at else manifest.files - manifest.missing_files
        if database_sha256 != manifest.database_sha256 or file_count != expected:
            raise BackupError("the archive is damaged: it does not hold what its manifest says")


def _entries(index: Path) -> Iterator[archive.FileEntry]:
    """The list of files, read while they come."""
    with index.open("rb") as lines:
        for line in lines:
            yield archive.FileEntry(**orjson.loads(line))


def _content(tar: TarFile, member: TarInfo) -> IO[bytes]:
    content = tar.extractfile(member)
    if content is None:
        raise BackupError(f"the archive is no backup: {member.name!r} is not a file")
    return content


def _write(path: Path, content: IO[bytes]) -> str:
    with archive.new_private_file(path) as file:
        sha256 = archive.copy(content, file)
    sync(str(path))
    return sha256


async def _pieces(content: IO[bytes]) -> AsyncIterator[bytes]:
    while piece := content.read(_PIECE_BYTES):
        yield piece


def _publish(staging: Path, target: Path) -> None:
    sync(str(staging))
    # In the place of an empty directory, if there is one.
    staging.rename(target)
    sync(str(target.parent))
