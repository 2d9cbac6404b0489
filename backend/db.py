"""The database: SQLite (WAL, ``synchronous=FULL``) or PostgreSQL, behind ``read`` and ``write``.

One schema and one set of queries serve both. On SQLite all writes go through one connection, each
an immediate transaction, and reads have connections of their own, so that no reader ever waits for
a writer. A commit returns after its fsync.

``transact`` and ``look`` are for the intake and for delivery, where every hop between event loop
and driver counts: the whole transaction is one synchronous function, which on SQLite runs in a
thread of its own, straight on the driver (``backend.transaction``).
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Engine, event, make_url, text
from sqlalchemy.exc import DatabaseError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from backend.sqlite_check import check_file
from backend.sqlite_file import ensure_file
from backend.sqlite_thread import SqliteThread, has_disk_failed
from backend.transaction import SqlalchemyTransaction, Transaction
from contracts.problems import Problem, Rejected
from contracts.runtime.failure import Failure
from contracts.runtime.telemetry import get_logger

Connection = AsyncConnection
"""A transaction's connection, for modules that pass it on and hold no SQL."""

Result = TypeVar("Result")

_join: ContextVar[Callable[[Connection], Awaitable[None]] | None] = ContextVar("join", default=None)

_log = get_logger("backend")
_AWAY = (
    OperationalError,
    InterfaceError,
    PoolTimeoutError,
    sqlite3.OperationalError,
    OSError,
)
_SQLITE_BUSY_MS = 2_000
_SQLITE_READERS = 4
_POSTGRES_POOL = 10
_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    f"PRAGMA busy_timeout={_SQLITE_BUSY_MS}",
    "PRAGMA temp_store=MEMORY",
    # A long reader lets the log grow; it is cut back to this many bytes behind it.
    f"PRAGMA journal_size_limit={64 * 1024**2}",
)


class Database:
    """Transactions on one database.

    Both raise ``Rejected(UNAVAILABLE)`` when the database is locked for longer than the bound, or
    away: the caller's client may repeat.
    """

    def __init__(self, url: str) -> None:
        """``url`` names an asynchronous driver: ``sqlite+aiosqlite`` or ``postgresql+asyncpg``."""
        self.url = url
        self.file = file_of(url)
        self.is_sqlite = self.file is not None
        if self.file is not None:
            ensure_file(self.file)
            self._writer = _sqlite_engine(url, "BEGIN IMMEDIATE", pool_size=1)
            self._reader = _sqlite_engine(url, "BEGIN", pool_size=_SQLITE_READERS)
        else:
            self._writer = self._reader = create_async_engine(url, pool_size=_POSTGRES_POOL)
        # A commit whose fsync failed may or may not be on the disk: nothing more is promised on it.
        self.failure = Failure()
        self._write_turn = asyncio.Lock()
        self._sqlite = self._sqlite_reader = None
        if self.file is not None:
            self._sqlite = SqliteThread(str(self.file), _PRAGMAS, "BEGIN IMMEDIATE")
            self._sqlite_reader = SqliteThread(str(self.file), _PRAGMAS, "BEGIN")

    async def transact(self, work: Callable[[Transaction], Result]) -> Result:
        """The result of ``work``, in a transaction that commits, durably, when it returns.

        Raises what ``work`` raises, and then nothing of it is stored.
        """
        with self._translated():
            if self._sqlite is None:
                async with self._writer.begin() as connection:
                    return await connection.run_sync(lambda sync: work(SqlalchemyTransaction(sync)))
            async with self._write_turn:
                return await self._sqlite.transact(work)

    async def look(self, work: Callable[[Transaction], Result]) -> Result:
        """The result of ``work``, which only reads: for what is read again and again, as
        ``transact`` is for what is written."""
        with self._translated():
            if self._sqlite_reader is not None:
                return await self._sqlite_reader.transact(work)
            async with self._reader.connect() as connection:
                return await connection.run_sync(lambda sync: work(SqlalchemyTransaction(sync)))

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A read-only transaction: one consistent state on SQLite, one per statement on
        PostgreSQL."""
        with self._translated():
            async with self._reader.connect() as connection:
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that commits, durably, when the block ends and rolls back if it raises."""
        with self._translated():
            if not self.is_sqlite:
                async with self._writer.begin() as connection:
                    yield connection
                    await _joined(connection)
                return
            async with self._write_turn, self._writer.begin() as connection:
                yield connection
                await _joined(connection)

    async def check(self, seconds: float | None = None) -> bool:
        """Looks for damage in the file of SQLite, for so long at most; False if that was not enough
        to see all of it. PostgreSQL looks after its own.

        Raises:
            SettingsError: the file is damaged; the message says what to do.
            Rejected: UNAVAILABLE.
        """
        if self.file is None:
            return True
        with self._translated():
            return await asyncio.to_thread(check_file, self.file, seconds)

    async def durability(self) -> dict[str, str]:
        """What the connection that commits says of its durability. Raises Rejected(UNAVAILABLE)."""
        with self._translated():
            if self._sqlite is not None:
                return await self._sqlite.durability()
            async with self._writer.connect() as connection:
                return {
                    name: str((await connection.execute(text(f"SHOW {name}"))).scalar_one())
                    for name in ("fsync", "synchronous_commit", "full_page_writes")
                }

    async def close(self) -> None:
        """Closes every connection; nothing may be used afterwards."""
        await self._writer.dispose()
        await self._reader.dispose()
        if self._sqlite is not None:
            await self._sqlite.close()
        if self._sqlite_reader is not None:
            await self._sqlite_reader.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turns "the database cannot be used now" into a refusal that invites a repeat."""
        if self.failure.reason is not None:
            raise _unavailable()
        try:
            yield
        except (*_AWAY, DatabaseError, sqlite3.DatabaseError) as error:
            if has_disk_failed(error):
                self.failure.set(f"the database's disk failed: {error}")
            elif not isinstance(error, _AWAY):
                raise
            _log.error("database unavailable", error=str(error))
            raise _unavailable() from error


@contextmanager
def joined_by(work: Callable[[Connection], Awaitable[None]]) -> Iterator[None]:
    """Makes ``work`` the last part of every transaction of ``Database.write`` that is begun in the
    block; what it raises rolls back the transaction."""
    token = _join.set(work)
    try:
        yield
    finally:
        _join.reset(token)


async def _joined(connection: Connection) -> None:
    work = _join.get()
    if work is not None:
        await work(connection)


def _unavailable() -> Rejected:
    return Rejected(
        Problem.UNAVAILABLE,
        "The database cannot be reached right now. Try again in a moment.",
        headers={"Retry-After": "2"},
    )


def _sqlite_engine(url: str, begin: str, pool_size: int) -> AsyncEngine:
    engine = create_async_engine(url, pool_size=pool_size, max_overflow=0)
    _prepare_sqlite(engine.sync_engine, begin)
    return engine


def _prepare_sqlite(engine: Engine, begin: str) -> None:
    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        # The driver's own transaction control would begin deferred and late.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in _PRAGMAS:
            cursor.execute(pragma)
        cursor.close()

    @event.listens_for(engine, "begin")
    def start(connection: Any) -> None:
        connection.exec_driver_sql(begin)


def file_of(url: str) -> Path | None:
    """The file of a database; None if it is PostgreSQL's. ``url`` is as for ``Database``."""
    if not url.startswith("sqlite"):
        return None
    database = make_url(url).database
    if not database:
        raise ValueError(f"{url} names no file")
    return Path(database)
