"""How the spool's database is opened at the start, whatever a crash or the disk made of it.

Functions block: call them in the thread that is to use the database.
"""

from pathlib import Path

from contracts.runtime.clock import Clock
from contracts.runtime.telemetry import get_logger
from gateway.spool.database import Damaged, SpoolDatabase
from gateway.spool.directory import (
    DATABASE,
    WAL_SUFFIX,
    copy_log_aside,
    set_aside,
    sync_directory,
)
from gateway.spool.log import has_lost_commits

_log = get_logger("gateway")


def open_database(directory: Path, clock: Clock) -> SpoolDatabase:
    """The checked database of a directory; a new one if there is none, or none that can be used,
    which is set aside then.

    Raises:
        sqlite3.Error, OSError, SpoolFailed: the storage does not let it be opened now.
    """
    path, log = directory / DATABASE, directory / (DATABASE + WAL_SUFFIX)
    if _is_empty(path) and not _is_empty(log):
        # SQLite would remove the log.
        _set_aside(directory, clock, "its database is missing or empty, its log is not")
    database = SpoolDatabase(path)
    try:
        try:
            _use(database, directory, clock)
        except Damaged as damage:
            # Renamed while it is open: SQLite removes the log of what it closes.
            _set_aside(directory, clock, str(damage))
            database.connection.close()
            database = SpoolDatabase(path)
            _use(database, directory, clock)
    except BaseException:
        database.connection.close()
        raise
    return database


def _use(database: SpoolDatabase, directory: Path, clock: Clock) -> None:
    database.check()
    # Before anything is written over what is in the log.
    if has_lost_commits(directory / (DATABASE + WAL_SUFFIX), database.recovered_frames()):
        copy = copy_log_aside(directory, clock.now_ms())
        _log.error("the spool's log is damaged, copied", path=str(copy))
    database.prepare()
    sync_directory(directory)


def _set_aside(directory: Path, clock: Clock, reason: str) -> None:
    path = set_aside(directory, clock.now_ms())
    _log.error("spool cannot be read, set aside", path=str(path), reason=reason)


def _is_empty(path: Path) -> bool:
    return not path.exists() or path.stat().st_size == 0
