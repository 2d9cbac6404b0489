"""Copies of an SQLite database: made while processes write to it, and checked."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from backend.backups.archive import BackupError
from backend.sqlite_check import check_file
from contracts.runtime.settings import SettingsError

_PAGES_AT_ONCE = 4_096
_BUSY_SECONDS = 10.0


def copy_database(source: Path, target: Path, on_progress: Callable[[int, int], None]) -> None:
    """Copies the database as it is at the start of the copy. Writers are not held up.

    ``on_progress`` is told how many pages are copied, and of how many. Blocks.

    Raises:
        BackupError
    """
    try:
        with (
            closing(_open(source)) as reading,
            closing(sqlite3.connect(target)) as writing,
        ):
            # The read transaction keeps one state in view; without it, every commit of another
            # process would begin the copy anew.
            reading.execute("BEGIN")
            reading.execute("SELECT 1 FROM sqlite_schema").fetchone()
            reading.backup(
                writing,
                pages=_PAGES_AT_ONCE,
                progress=lambda _, remaining, total: on_progress(total - remaining, total),
                sleep=0,
            )
    except sqlite3.Error as error:
        raise BackupError(f"{source} cannot be copied: {error}") from error


def check_database(path: Path) -> None:
    """Looks through a copied file. Blocks.

    Raises:
        BackupError: it is not a whole database.
    """
    try:
        check_file(path)
    except (SettingsError, sqlite3.Error) as error:
        raise BackupError(f"the database in the archive is damaged: {error}") from error


def _open(path: Path) -> sqlite3.Connection:
    uri = f"file:{quote(str(path.absolute()))}?mode=rw"
    return sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)
