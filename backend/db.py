"""The database: SQLite (WAL, ``synchronous=FULL``) or PostgreSQL, behind ``read`` and ``write``.

One schema and one set of queries serve both. On SQLite all writes go through one connection, each
an immediate transaction, and reads have connections of their own, so that no reader ever waits for
a writer. A commit returns after its fsync.

``transact`` is for the intake, where every hop between event loop and driver counts: the whole
transaction is one synchronous function, which on SQLite runs in a thread of its own.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection as SyncConnection
from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from contracts.problems import Problem, Rejected
from contracts.runtime.telemetry import get_logger

Connection = AsyncConnection
"""A transaction's connection, for modules that pass it on and hold no SQL."""

Result = TypeVar("Result")

_log = get_logger("backend")
_AWAY = (OperationalError, InterfaceError, PoolTimeoutError, OSError)
_SQLITE_BUSY_MS = 2_000
_SQLITE_READERS = 4
_POSTGRES_POOL = 10
_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    f"PRAGMA busy_timeout={_SQLITE_BUSY_MS}",
    "PRAGMA temp_store=MEMORY",
)


class Database:
    """Transactions on one database.

    Both raise ``Rejected(UNAVAILABLE)`` when the database is locked for longer than the bound, or
    away: the caller's client may repeat.
    """

    def __init__(self, url: str) -> None:
        """``url`` names an asynchronous driver: ``sqlite+aiosqlite`` or ``postgresql+asyncpg``."""
        self.url = url
        self.is_sqlite = url.startswith("sqlite")
        if self.is_sqlite:
            _create_directory_of(url)
            self._writer = _sqlite_engine(url, "BEGIN IMMEDIATE", pool_size=1)
            self._reader = _sqlite_engine(url, "BEGIN", pool_size=_SQLITE_READERS)
        else:
            self._writer = self._reader = create_async_engine(url, pool_size=_POSTGRES_POOL)
        self._write_turn = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, "sqlite-writer") if self.is_sqlite else None
        self._sync_writer = _sync_sqlite_engine(url) if self.is_sqlite else None

    async def transact(self, work: Callable[[SyncConnection], Result]) -> Result:
        """The result of ``work``, in a transaction that commits, durably, when it returns.

        Raises what ``work`` raises, and then nothing of it is stored.
        """
        with _translated():
            if self._thread is None or self._sync_writer is None:
                async with self._writer.begin() as connection:
                    return await connection.run_sync(work)
            loop = asyncio.get_running_loop()
            async with self._write_turn:
                return await loop.run_in_executor(self._thread, self._transact, work)

    def _transact(self, work: Callable[[SyncConnection], Result]) -> Result:
        if self._sync_writer is None:
            raise RuntimeError("only SQLite has a synchronous writer")
        with self._sync_writer.begin() as connection:
            return work(connection)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A read-only transaction: one consistent state on SQLite, one per statement on
        PostgreSQL."""
        with _translated():
            async with self._reader.connect() as connection:
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that commits, durably, when the block ends and rolls back if it raises."""
        with _translated():
            if not self.is_sqlite:
                async with self._writer.begin() as connection:
                    yield connection
                return
            async with self._write_turn, self._writer.begin() as connection:
                yield connection

    async def close(self) -> None:
        """Closes every connection; nothing may be used afterwards."""
        await self._writer.dispose()
        await self._reader.dispose()
        if self._thread is not None and self._sync_writer is not None:
            # In the thread, which ends what it is doing first.
            await asyncio.get_running_loop().run_in_executor(
                self._thread, self._sync_writer.dispose
            )
            self._thread.shutdown()


@contextmanager
def _translated() -> Iterator[None]:
    """Turns "the database cannot be used now" into a refusal that invites a repeat."""
    try:
        yield
    except _AWAY as error:
        _log.error("database unavailable", error=str(error))
        raise Rejected(
            Problem.UNAVAILABLE,
            "The database cannot be reached right now. Try again in a moment.",
            headers={"Retry-After": "2"},
        ) from error


def _sqlite_engine(url: str, begin: str, pool_size: int) -> AsyncEngine:
    engine = create_async_engine(url, pool_size=pool_size, max_overflow=0)
    _prepare_sqlite(engine.sync_engine, begin)
    return engine


def _sync_sqlite_engine(url: str) -> Engine:
    engine = create_engine(url.replace("+aiosqlite", "+pysqlite", 1), pool_size=1, max_overflow=0)
    _prepare_sqlite(engine, "BEGIN IMMEDIATE")
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


def _create_directory_of(url: str) -> None:
    database = make_url(url).database
    if database:
        Path(database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
