"""What can go wrong in the spool, and how errors of SQLite and of the system are told apart."""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
_BROKEN = {errno.EIO, errno.EROFS}
# Another process holds the file, or memory is short: the next attempt may succeed.
_PASSING = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM}
# The wal-index cannot grow: no I/O error, whatever SQLite calls it.
_NO_SPACE_FOR_INDEX = sqlite3.SQLITE_IOERR_SHMSIZE


class SpoolError(Exception):
    """The spool could not do it. After a ``put``: the submission is not acknowledged."""


class SpoolLocked(SpoolError):
    """Another process works with this spool."""


class SpoolFull(SpoolError):
    """There is no room now; there is again when the spool drains or the disk gets space."""


class SpoolFailed(SpoolError):
    """The storage did not do it. If ``is_final``, nothing may be acknowledged on it any more."""

    def __init__(self, message: str, *, is_final: bool = False) -> None:
        super().__init__(message)
        self.is_final = is_final


@contextmanager
def errors_of_storage() -> Iterator[None]:
    """Raises SpoolFull or SpoolFailed for what SQLite and the system raise inside."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", None)
        if code is None:
            # A misuse of the module: no error of the storage.
            raise
        raise _read(f"spool: {error}", is_full(error), not is_passing(error)) from error
    except OSError as error:
        is_final = error.errno in _BROKEN
        raise _read(f"spool: {error.strerror}", error.errno in _NO_SPACE, is_final) from error


def is_full(error: sqlite3.Error) -> bool:
    """Whether SQLite found no space on the disk."""
    return (
        primary_code(error) == sqlite3.SQLITE_FULL or error.sqlite_errorcode == _NO_SPACE_FOR_INDEX
    )


def is_passing(error: sqlite3.Error) -> bool:
    """Whether the same may succeed a moment later."""
    return primary_code(error) in _PASSING


def primary_code(error: sqlite3.Error) -> int:
    """The class of an error of SQLite, without its detail."""
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code & 0xFF


def _read(message: str, is_full: bool, is_final: bool) -> SpoolError:
    return SpoolFull(message) if is_full else SpoolFailed(message, is_final=is_final)
