"""The spool's database file: how it is opened, checked and written durably.

SQLite with a write-ahead log; the schema is made here, what the rows say is in ``rows``.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from gateway.spool.errors import SpoolError, SpoolFailed, is_full, primary_code

FORMAT = 1
LOCKED_SECONDS = 2.0

_SCHEMA = (
    # What is summed up at the start comes first: rows of many pages are then not read whole.
    "CREATE TABLE spool (sequence INTEGER PRIMARY KEY, size INTEGER NOT NULL, "
    "file_count INTEGER NOT NULL, received_at INTEGER NOT NULL, id TEXT NOT NULL, "
    "form_id TEXT NOT NULL, idempotency_key TEXT, fingerprint TEXT, lease_id TEXT, "
    "checksum INTEGER NOT NULL, document BLOB NOT NULL)",
    "CREATE UNIQUE INDEX spool_keys ON spool (form_id, idempotency_key) "
    "WHERE idempotency_key IS NOT NULL",
    "CREATE TABLE rejected (sequence INTEGER PRIMARY KEY, size INTEGER NOT NULL, "
    "file_count INTEGER NOT NULL, received_at INTEGER NOT NULL, rejected_at INTEGER NOT NULL, "
    "id TEXT NOT NULL, form_id TEXT NOT NULL, lease_id TEXT, problem TEXT NOT NULL, "
    "detail TEXT NOT NULL, checksum INTEGER NOT NULL, document BLOB NOT NULL)",
)
_DURABILITY = (
    "PRAGMA synchronous = FULL",
    # Where fsync alone does not reach the disk (macOS).
    "PRAGMA fullfsync = ON",
    "PRAGMA checkpoint_fullfsync = ON",
    # SQLite ignores what fails in its own checkpoints, a failed fsync, too.
    "PRAGMA wal_autocheckpoint = 0",
    f"PRAGMA journal_size_limit = {16 * 1024**2}",
    # Distributions differ in whether deleted pages are written over: twice the log.
    "PRAGMA secure_delete = FAST",
)
# Bytes 18 and 19 of the file: 1 with a rollback journal, 2 with a write-ahead log.
_FILE_VERSION_MAX = 2
# Of smaller pages a row of 2 KiB fills one alone.
_PAGE_BYTES = 8192
_CHECKPOINT_BYTES = 4 * 1024**2
# Free pages that the file keeps for the next rows; more go back to the disk.
_SPARE_PAGES = 1024
# Not the fault of what is in the file.
_ENVIRONMENT = {
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
}

Result = TypeVar("Result")


class Damaged(SpoolError):
    """The file is not a spool of this version, or not whole; the message says why."""


class SpoolDatabase:
    """One connection, for one thread."""

    def __init__(self, path: Path) -> None:
        """Opens the file, or makes it. Raises sqlite3.Error, OSError; look at it with ``check``."""
        self._header = _make_file(path)
        self.connection = sqlite3.connect(path, timeout=LOCKED_SECONDS, isolation_level=None)
        # A damaged text must not keep its row from being read.
        self.connection.text_factory = decode_text
        self._logged_bytes = 0

    def check(self) -> None:
        """Goes through the file, and writes nothing.

        ``integrity_check``, not the quicker one: an index that misses an entry would let every
        later deletion of its row fail.

        Raises:
            Damaged: what is in the file cannot be used.
            sqlite3.Error: the file cannot be used now.
        """
        with _judging():
            self.connection.execute("PRAGMA cell_size_check = ON")
            if not self._is_new():
                self._check_format()
                self._check_is_writable()
                [problem] = self.connection.execute("PRAGMA integrity_check(1)").fetchone()
                if problem != "ok":
                    raise Damaged(str(problem))

    def prepare(self) -> None:
        """Makes a checked file ready for writing, and the tables in an empty one.

        Raises as ``check`` does; SpoolFailed if the file system is not made for it.
        """
        with _judging():
            schema = _SCHEMA if self._is_new() else ()
            if schema:
                self.connection.execute(f"PRAGMA page_size = {_PAGE_BYTES:d}")
                self.connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            [mode] = self.connection.execute("PRAGMA journal_mode = WAL").fetchone()
            if mode != "wal":
                raise SpoolFailed(f"the spool's file system cannot hold a log: journal mode {mode}")
            for pragma in _DURABILITY:
                self.connection.execute(pragma).fetchall()
            self.write(lambda: self._write_format(schema), 0)

    def write(self, work: Callable[[], Result], size: int) -> Result:
        """What ``work`` returns, after the durable commit of what it did, about ``size`` bytes.

        Raises sqlite3.Error; then nothing of it was done.
        """
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            result = work()
            self.connection.execute("COMMIT")
        except BaseException:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise
        self._logged_bytes += size + _PAGE_BYTES
        return result

    def tidy(self) -> None:
        """Moves the log into the file when it is long, and shortens a file of many free pages.

        Raises sqlite3.Error. A full disk is no error: all stays as it is, and nothing is lost.
        """
        try:
            self._give_back_space()
            self._checkpoint()
        except sqlite3.OperationalError as error:
            if not is_full(error):
                raise

    def recovered_frames(self) -> int:
        """How many pages of the log SQLite holds for valid. Raises as ``check`` does."""
        with _judging():
            [_, frames, _] = self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            return max(0, int(frames))

    def close(self) -> None:
        """Empties the log into the file and closes it. Raises sqlite3.Error, but is closed."""
        try:
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            self.connection.close()

    def _give_back_space(self) -> None:
        [free] = self.connection.execute("PRAGMA freelist_count").fetchone()
        if free <= _SPARE_PAGES:
            return
        count = min(free - _SPARE_PAGES, _SPARE_PAGES)
        # Not execute, which would stop after the first page.
        self.connection.executescript(f"PRAGMA incremental_vacuum({count:d})")
        self._logged_bytes += count * _PAGE_BYTES

    def _checkpoint(self) -> None:
        if self._logged_bytes < _CHECKPOINT_BYTES:
            return
        self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        self._logged_bytes = 0

    def _is_new(self) -> bool:
        [version] = self.connection.execute("PRAGMA user_version").fetchone()
        [tables] = self.connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        return bool(version == tables == 0)

    def _check_format(self) -> None:
        [version] = self.connection.execute("PRAGMA user_version").fetchone()
        if version != FORMAT:
            raise Damaged(f"its format is {version}, not {FORMAT}")
        rows = self.connection.execute("SELECT sql FROM sqlite_master")
        if {sql for [sql] in rows} != set(_SCHEMA):
            raise Damaged("its tables are not the spool's")

    def _check_is_writable(self) -> None:
        # SQLite itself does not tell this from a file that it could not open for writing.
        if any(version > _FILE_VERSION_MAX for version in self._header[18:20]):
            raise Damaged("its header says that it is of a later SQLite")

    def _write_format(self, schema: Sequence[str]) -> None:
        for statement in schema:
            self.connection.execute(statement)
        # Every time: a file that cannot be written is to be noticed before the first submission.
        self.connection.execute(f"PRAGMA user_version = {FORMAT:d}")


def _make_file(path: Path) -> bytes:
    """The header of the file, which is made for its owner only if it is not there."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        return os.pread(descriptor, 100, 0)
    finally:
        os.close(descriptor)


@contextmanager
def _judging() -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        if primary_code(error) in _ENVIRONMENT:
            raise
        raise Damaged(str(error)) from error


def decode_text(text: bytes) -> str:
    """Text of a row, whatever the disk made of it."""
    return text.decode(errors="replace")
