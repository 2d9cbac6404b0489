"""The rows of a spool one by one, for whoever looks from outside: those of a database that was set
aside, too, around what is damaged in it.

Nothing is changed by reading. Functions block, and raise sqlite3.Error.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from gateway.spool.directory import DATABASE, is_locked
from gateway.spool.errors import primary_code
from gateway.spool.files import SpooledFile, SpoolFiles
from gateway.spool.rows import KeptRow, Table, highest_sequence, next_row
from gateway.spool.summary import connect

# Where the last sequence cannot be read: so many in vain, one after the other, are the end.
_GAP_MAX = 100_000
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_IOERR}


def read(directory: Path, table: Table) -> Iterator[KeptRow | None]:
    """The rows of a spool that may be in use, in order of arrival; none without a database."""
    path = directory / DATABASE
    if path.exists():
        with closing(connect(path, is_locked(directory))) as connection:
            yield from _rows(connection, table)


def read_set_aside(path: Path) -> Iterator[KeptRow | None]:
    """What can be read of a database that was set aside, and None for each sequence of which it
    cannot be said whether it had a row: first what waited, then what was rejected."""
    with closing(connect(path, is_in_use=False)) as connection:
        yield from _rows(connection, "spool")
        yield from _rows(connection, "rejected")


def files_of(row: KeptRow, directory: Path) -> tuple[SpooledFile, ...]:
    """The files of a row, in the directory of the files of its database. Raises FileNotFoundError
    if one is not there whole."""
    return SpoolFiles(directory).find(row.submission) if row.submission is not None else ()


def _rows(connection: sqlite3.Connection, table: Table) -> Iterator[KeptRow | None]:
    # Without its list of tables nothing can be found in a database.
    connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    last = _last(connection, table)
    sequence, gap = 1, 0
    while gap < _GAP_MAX and (last is None or sequence <= last):
        try:
            row = next_row(connection, table, sequence)
        except sqlite3.DatabaseError as error:
            if primary_code(error) not in _DAMAGE:
                raise
            # A page that cannot be read hides all its rows; those behind are on others.
            yield None
            sequence += 1
            gap += last is None
            continue
        if row is None:
            return
        yield row
        sequence, gap = row.sequence + 1, 0


def _last(connection: sqlite3.Connection, table: Table) -> int | None:
    try:
        return highest_sequence(connection, table)
    except sqlite3.DatabaseError as error:
        if primary_code(error) not in _DAMAGE:
            raise
        return None
