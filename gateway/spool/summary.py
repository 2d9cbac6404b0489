"""What is in a spool, for whoever looks from outside, while a gateway works with it or after.

Nothing is changed by looking, not even a side file of the database.
"""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from gateway.spool.database import decode_text
from gateway.spool.directory import DATABASE, WAL_SUFFIX, is_locked, list_set_aside
from gateway.spool.rows import Levels, read_levels

_TIMEOUT_SECONDS = 2.0
_EMPTY = Levels(0, 0, 0, 0, None)


@dataclass(frozen=True, slots=True)
class SpoolSummary:
    """Submissions that wait and that were rejected, in rows and in bytes with their files.

    ``oldest_received_at`` is Unix milliseconds. ``is_in_use`` says that a gateway has the spool
    open. ``problem`` says why the levels, all 0 then, could not be read.
    """

    count: int
    bytes: int
    rejected_count: int
    rejected_bytes: int
    oldest_received_at: int | None
    set_aside: tuple[Path, ...]
    is_in_use: bool
    problem: str | None


def inspect(directory: Path) -> SpoolSummary:
    """Looks at a spool's directory; one that is not there is empty. Blocks.

    Raises:
        OSError: the directory may not be read.
    """
    is_in_use = is_locked(directory)
    levels, problem = _EMPTY, None
    if (directory / DATABASE).exists():
        try:
            levels = _read(directory / DATABASE, is_in_use)
        except sqlite3.Error as error:
            problem = str(error)
    return SpoolSummary(
        count=levels.count,
        bytes=levels.bytes,
        rejected_count=levels.rejected_count,
        rejected_bytes=levels.rejected_bytes,
        oldest_received_at=levels.oldest_received_at,
        set_aside=list_set_aside(directory),
        is_in_use=is_in_use,
        problem=problem,
    )


def connect(path: Path, is_in_use: bool) -> sqlite3.Connection:
    """A connection that only reads. Raises sqlite3.Error."""
    uri = f"file:{quote(str(path.absolute()))}?mode=ro{_manner(path, is_in_use)}"
    connection = sqlite3.connect(uri, uri=True, timeout=_TIMEOUT_SECONDS)
    connection.text_factory = decode_text
    return connection


def _read(path: Path, is_in_use: bool) -> Levels:
    with closing(connect(path, is_in_use)) as connection:
        return read_levels(connection)


def _manner(path: Path, is_in_use: bool) -> str:
    if is_in_use:
        return ""
    log = path.with_name(path.name + WAL_SUFFIX)
    has_log = log.exists() and log.stat().st_size > 0
    # After a crash the log counts, but its index is not to be written; without a log, none is made.
    return "&readonly_shm=1" if has_log else "&immutable=1"
