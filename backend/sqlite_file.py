"""The file of an SQLite database, made before anyone opens it."""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from backend.durable_directories import sync
from contracts.runtime.settings import SettingsError


def ensure_file(path: Path) -> None:
    """Makes the file, and the directories above it, where they are missing; their names outlive a
    power cut. No process ever sees the file empty.

    Raises:
        SettingsError: the file is empty, though it was not made just now.
        OSError
    """
    _ensure_directory(path.parent)
    with _locked(path.parent):
        if not path.exists():
            _create(path)
        elif path.stat().st_size == 0:
            # SQLite would begin anew in it without a word.
            raise SettingsError(
                f"FORMFLOW_DATABASE_URL: {path} is empty, which no database of ours ever is: "
                "restore a backup, or remove it to begin anew"
            )


def size_of_log(path: Path) -> int:
    """The bytes of the write-ahead log of the database at a path; 0 if there is none."""
    try:
        return path.with_name(f"{path.name}-wal").stat().st_size
    except FileNotFoundError:
        return 0


def _create(path: Path) -> None:
    with TemporaryDirectory(prefix=".new-", dir=path.parent) as directory:
        made = Path(directory) / path.name
        with closing(sqlite3.connect(made)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
        made.rename(path)
    sync(str(path.parent))


def _ensure_directory(directory: Path) -> None:
    if directory.is_dir():
        return
    _ensure_directory(directory.parent)
    directory.mkdir(mode=0o700, exist_ok=True)
    sync(str(directory.parent))


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Keeps other processes, and threads of this one, from doing the same at once."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
