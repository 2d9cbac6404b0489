"""The spool's directory: who holds it, what is durable in it, what is set aside, what is reserved.

Every function blocks: call it in a thread.
"""

import fcntl
import os
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from contracts.runtime.settings import Settings
from gateway.spool.errors import SpoolFailed, SpoolFull, SpoolLocked

DATABASE = "spool.db"
LOCK = "spool.lock"
FILES = "files"
WAL_SUFFIX = "-wal"
# Deleting when the disk is full needs a log of what is deleted, and the file must take what the log
# still holds: some megabytes each.
RESERVE_BYTES = 16 * 1024**2

_RESERVE = "spool.reserve"
_SIDE_SUFFIXES = (WAL_SUFFIX, "-shm", "-journal")
_FILES_SUFFIX = "-files"
# Whoever asks whether the spool is locked has the lock for an instant.
_LOCK_ATTEMPTS = 10
_LOCK_PAUSE_SECONDS = 0.02


def root_of(settings: Settings) -> Path:
    """Where the spools of a gateway's workers are, each in a folder named by its number."""
    return settings.spool_dir or settings.data_dir / "spool"


def numbered_spools(root: Path) -> dict[int, Path]:
    """The folders of all spools there, of workers that there are and that there were."""
    found = {int(path.name): path for path in root.glob("[0-9]*") if path.name.isdecimal()}
    return dict(sorted(found.items()))


def make_directory(path: Path) -> None:
    """Makes the directory, for its owner only, if it is not there."""
    if not path.is_dir():
        # Each one above, too: what is in it is there after a power cut only if its name is.
        make_directory(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)
        sync_directory(path.parent)


def lock(directory: Path) -> int:
    """Takes the directory; closing the returned descriptor, or dying, gives it back.

    Raises:
        SpoolLocked: another process, or another spool of this one, has it.
    """
    descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    for _ in range(_LOCK_ATTEMPTS):
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        time.sleep(_LOCK_PAUSE_SECONDS)
    os.close(descriptor)
    raise SpoolLocked(f"the spool in {directory} is in use by another process")


def is_locked(directory: Path) -> bool:
    """Whether a process has the directory."""
    try:
        descriptor = os.open(directory / LOCK, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def sync_file(path: Path) -> None:
    """Returns when the file's bytes are on the disk. Raises SpoolFailed, for good."""
    _sync(path, os.O_RDONLY)


def sync_directory(path: Path) -> None:
    """Returns when the directory's entries are on the disk. Raises SpoolFailed, for good."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def set_aside(directory: Path, now_ms: int) -> Path:
    """Renames the database, its log and its files, so that nothing is lost; the new database name.

    The files go first: without a row that names them they would be taken for orphans. A log whose
    database is gone is set aside, too, when a crash comes between.
    """
    stem = _unused(directory, DATABASE, now_ms)
    names = {FILES: stem + _FILES_SUFFIX} | {
        DATABASE + suffix: stem + suffix for suffix in ("", *_SIDE_SUFFIXES)
    }
    for name, new_name in names.items():
        with suppress(FileNotFoundError):
            (directory / name).rename(directory / new_name)
    sync_directory(directory)
    return directory / stem


def copy_log_aside(directory: Path, now_ms: int) -> Path:
    """Keeps a copy of the database's log, before it is written over; the copy's name."""
    name = DATABASE + WAL_SUFFIX
    copy = directory / _unused(directory, name, now_ms)
    descriptor = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
        file.write((directory / name).read_bytes())
    sync_file(copy)
    sync_directory(directory)
    return copy


def list_set_aside(directory: Path) -> tuple[Path, ...]:
    """Everything that was ever set aside there, the oldest first."""
    return tuple(sorted(directory.glob(f"{DATABASE}*.bad-*")))


def databases_set_aside(directory: Path) -> dict[Path, Path]:
    """The databases set aside there, the oldest first, and of each the directory of its files."""
    found = sorted(directory.glob(f"{DATABASE}.bad-*"))
    return {
        path: path.with_name(path.name + _FILES_SUFFIX)
        for path in found
        if not path.name.endswith((*_SIDE_SUFFIXES, _FILES_SUFFIX))
    }


class Room:
    """How much of the disk may be used, and a reserve of it, for deleting when it is full."""

    def __init__(self, directory: Path, free_bytes_min: int) -> None:
        self._directory = directory
        self._reserve = directory / _RESERVE
        self._free_bytes_min = free_bytes_min
        # A shorter one is what a crash left of the attempt to take it.
        is_there = self._reserve.is_file()
        self._has_reserve = is_there and self._reserve.stat().st_size == RESERVE_BYTES

    def check(self, size: int) -> None:
        """Takes the reserve anew if it was used. Raises SpoolFull if ``size`` bytes do not fit."""
        disk = os.statvfs(self._directory)
        needed = size if self._has_reserve else size + RESERVE_BYTES
        if disk.f_bavail * disk.f_frsize - needed < self._free_bytes_min:
            raise SpoolFull("the disk of the spool has too little space left")
        if not self._has_reserve:
            self._take_reserve()

    def use_reserve(self) -> None:
        """Gives the reserve's space to whoever writes next."""
        self._has_reserve = False
        self._reserve.unlink(missing_ok=True)

    def _take_reserve(self) -> None:
        self.use_reserve()
        descriptor = os.open(self._reserve, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(descriptor, "wb") as file:
                file.write(bytes(RESERVE_BYTES))
            sync_file(self._reserve)
        except OSError:
            self.use_reserve()
            raise
        self._has_reserve = True


def _unused(directory: Path, name: str, now_ms: int) -> str:
    moment = datetime.fromtimestamp(now_ms // 1000, UTC)
    stem = first = f"{name}.bad-{moment:%Y%m%dT%H%M%SZ}"
    number = 1
    while any(directory.glob(f"{stem}*")):
        number += 1
        stem = f"{first}-{number}"
    return stem


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise SpoolFailed(f"fsync of {path.name}: {error.strerror}", is_final=True) from error
    finally:
        os.close(descriptor)
