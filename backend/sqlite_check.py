"""Whether the file of an SQLite database is whole.

SQLite notices damage only where it happens to read it, and an index that has lost an entry hides
rows without a word. ``integrity_check`` compares every index with its table; ``quick_check`` does
not, and takes two thirds of the time. Neither sees bytes changed inside a text: SQLite keeps no
checksum of them.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from threading import Event, Thread
from urllib.parse import quote

from contracts.runtime.settings import SettingsError

_BUSY_SECONDS = 2.0
_INTERRUPT_SECONDS = 0.005
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def check_file(path: Path, seconds: float | None = None) -> bool:
    """Looks through the file, for so long at most; False if that was not enough to see all of it.

    Changes nothing, and may run beside a server, whose write-ahead log cannot be cut back
    meanwhile. 100 MB take a fifth of a second when they are in memory.

    Raises:
        SettingsError: the file is damaged; the message says what to do.
        sqlite3.Error: it cannot be read now.
    """
    try:
        complaint = _first_complaint(path, seconds)
    except UnicodeDecodeError as error:
        # SQLite's message quotes what stands where a name should.
        complaint = str(error)
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            return False
        if error.sqlite_errorcode & 0xFF not in _DAMAGED:
            raise
        complaint = str(error)
    if complaint != "ok":
        raise SettingsError(
            f"FORMFLOW_DATABASE_URL: {path} is damaged ({complaint}): restore a backup; without "
            f"one, `sqlite3 {path} .recover | sqlite3 salvaged.db` saves what can be read"
        )
    return True


def _first_complaint(path: Path, seconds: float | None) -> str:
    # Read-only: it would otherwise bring the log into a file that may be damaged as it closes.
    url = f"file:{quote(str(path))}?mode=ro"
    with closing(
        sqlite3.connect(url, uri=True, timeout=_BUSY_SECONDS, check_same_thread=False)
    ) as connection:
        connection.text_factory = _readable
        with nullcontext() if seconds is None else _bounded(connection, seconds):
            [complaint] = connection.execute("PRAGMA integrity_check(1)").fetchone()
    return " ".join(str(complaint).split())


@contextmanager
def _bounded(connection: sqlite3.Connection, seconds: float) -> Iterator[None]:
    """Interrupts what the block asks of SQLite after that time.

    Not by a progress handler: SQLite 3.40 calls none while it walks a tree.
    """
    is_over = Event()

    def interrupt() -> None:
        is_over.wait(seconds)
        # Again and again: what comes between two statements is forgotten.
        while not is_over.wait(_INTERRUPT_SECONDS):
            connection.interrupt()

    thread = Thread(target=interrupt, name="sqlite-check")
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _readable(text: bytes) -> str:
    """A complaint may quote a name that is no longer UTF-8."""
    return text.decode(errors="backslashreplace")
