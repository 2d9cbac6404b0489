"""A connection to SQLite in a thread of its own, for transactions that are one function."""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from backend.transaction import SqliteTransaction, Transaction

Result = TypeVar("Result")


# SQLite's primary codes after which what is on the disk is unknown, or known to be wrong.
_BROKEN = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
# Called I/O errors, but it is space or memory that is short, and may be there a moment later.
_SHORT = {sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_NOMEM}


def has_disk_failed(error: BaseException) -> bool:
    """Whether an error, of the driver or of SQLAlchemy around it, is the disk's."""
    code = getattr(getattr(error, "orig", error), "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _BROKEN and code not in _SHORT


class SqliteThread:
    """Runs transactions one after the other. The connection is opened by the first one."""

    def __init__(self, path: str, pragmas: Sequence[str], begin: str) -> None:
        """``begin`` is the statement that begins a transaction."""
        self._path = path
        self._pragmas = pragmas
        self._begin = begin
        self._thread = ThreadPoolExecutor(1, "sqlite")
        self._connection: sqlite3.Connection | None = None
        self._transaction: SqliteTransaction | None = None

    async def transact(self, work: Callable[[Transaction], Result]) -> Result:
        """The result of ``work``; a commit has been fsynced when this returns.

        Raises what ``work`` raises, and then nothing of it is stored. Raises sqlite3.Error.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, work)

    async def durability(self) -> dict[str, str]:
        """What this connection says of its settings."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._durability)

    async def close(self) -> None:
        """Closes the connection, after what is under way."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    def _run(self, work: Callable[[Transaction], Result]) -> Result:
        connection = self._connection or self._open()
        transaction = self._transaction = self._transaction or SqliteTransaction(connection)
        connection.execute(self._begin)
        try:
            result = work(transaction)
            connection.execute("COMMIT")
        except BaseException:
            # A failed commit may have ended it already.
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return result

    def _durability(self) -> dict[str, str]:
        connection = self._connection or self._open()
        names = ("journal_mode", "synchronous", "fullfsync")
        return {name: str(connection.execute(f"PRAGMA {name}").fetchone()[0]) for name in names}

    def _open(self) -> sqlite3.Connection:
        connection = self._connection = sqlite3.connect(self._path, isolation_level=None)
        for pragma in self._pragmas:
            connection.execute(pragma)
        return connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
