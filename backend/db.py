"""The database: SQLite (WAL, ``synchronous=FULL``) or PostgreSQL, behind ``read`` and ``write``.

One schema and one set of queries serve both. On SQLite all writes go through one connection, each
an immediate transaction, and reads have connections of their own, so that no reader ever waits for
a writer. A commit returns after its fsync.

``transact`` and ``look`` are for the intake and for delivery, where every hop between event loop
and driver counts: the whole transaction is one synchronous function, which on SQLite runs in a
thread of its own, straight on the driver (``backend.transaction``).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TypeVar

from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from backend.database_errors import has_lost_race, is_away
from backend.engines import postgresql_engine, sqlite_engine
from backend.sqlite_check import check_file
from backend.sqlite_file import ensure_file, size_of_log
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
_SQLITE_BUSY_MS = 2_000
_SQLITE_READERS = 4
_TURN_SECONDS = 2.0
# A gateway waits two seconds for a batch; PostgreSQL looks for a deadlock after one.
_ATTEMPTS = 3
_ATTEMPTS_SECONDS = 2.0
# At once it could take the first lock again before the other transaction gets it.
_PAUSE_SECONDS = 0.05
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

    All raise ``Rejected(UNAVAILABLE)`` when the database is away, or locked for longer than the
    bound, which is two seconds for the turn to write and two for SQLite's own lock: the caller's
    client may repeat. It is not known then whether a commit that was under way has come about.
    Errors of our own statements are raised as they are.
    """

    def __init__(self, url: str, *, is_patient: bool = False) -> None:
        """``url`` names an asynchronous driver: ``sqlite+aiosqlite`` or ``postgresql+asyncpg``. If
        it ``is_patient``, statements on PostgreSQL take as long as they need."""
        self.url = url
        self.file = file_of(url)
        self.is_sqlite = self.file is not None
        if self.file is not None:
            ensure_file(self.file)
            self._writer = sqlite_engine(url, _PRAGMAS, "BEGIN IMMEDIATE", 1)
            self._reader = sqlite_engine(url, _PRAGMAS, "BEGIN", _SQLITE_READERS)
        else:
            self._writer = self._reader = postgresql_engine(url, is_patient=is_patient)
        # A commit whose fsync failed may or may not be on the disk: nothing more is promised on it.
        self.failure = Failure()
        self._write_turn = asyncio.Lock()
        self._sqlite = self._sqlite_reader = None
        if self.file is not None:
            self._sqlite = SqliteThread(str(self.file), _PRAGMAS, "BEGIN IMMEDIATE")
            self._sqlite_reader = SqliteThread(str(self.file), _PRAGMAS, "BEGIN")

    async def transact(self, work: Callable[[Transaction], Result]) -> Result:
        """The result of ``work``, in a transaction that commits, durably, when it returns.

        Raises what ``work`` raises, and then nothing of it is stored. On PostgreSQL ``work`` runs
        again if the transaction was ended in favour of another one.
        """
        with self._translated():
            if self._sqlite is None:
                return await self._transact_until_preferred(work)
            async with self._turn():
                return await self._sqlite.transact(work)

    async def look(self, work: Callable[[Transaction], Result]) -> Result:
        """The result of ``work``, which only reads: for what is read again and again, as
        ``transact`` is for what is written."""
        with self._translated():
            if self._sqlite_reader is not None:
                return await self._sqlite_reader.transact(work)
            async with self._connected(self._reader) as connection:
                return await connection.run_sync(lambda sync: work(SqlalchemyTransaction(sync)))

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A read-only transaction: one consistent state on SQLite, one per statement on
        PostgreSQL."""
        with self._translated():
            async with self._connected(self._reader) as connection:
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that commits, durably, when the block ends and rolls back if it raises."""
        with self._translated():
            async with AsyncExitStack() as stack:
                if self.is_sqlite:
                    await stack.enter_async_context(self._turn())
                connection = await stack.enter_async_context(self._connected(self._writer))
                await stack.enter_async_context(connection.begin())
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
            async with self._connected(self._writer) as connection:
                return {
                    name: str((await connection.execute(text(f"SHOW {name}"))).scalar_one())
                    for name in ("fsync", "synchronous_commit", "full_page_writes")
                }

    async def log_bytes(self) -> int | None:
        """The size of SQLite's write-ahead log, which grows while SQLite cannot copy it into the
        database; None on PostgreSQL."""
        if self.file is None:
            return None
        return await asyncio.to_thread(size_of_log, self.file)

    async def close(self) -> None:
        """Closes every connection; nothing may be used afterwards."""
        await self._writer.dispose()
        await self._reader.dispose()
        if self._sqlite is not None:
            await self._sqlite.close()
        if self._sqlite_reader is not None:
            await self._sqlite_reader.close()

    async def _transact_until_preferred(self, work: Callable[[Transaction], Result]) -> Result:
        """As ``transact``, on PostgreSQL, which ends one of two transactions that are in each
        other's way (deadlock, serialization failure)."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _ATTEMPTS_SECONDS
        attempt = 1
        while True:
            try:
                async with self._connected(self._writer) as connection, connection.begin():
                    return await connection.run_sync(lambda sync: work(SqlalchemyTransaction(sync)))
            except DBAPIError as error:
                is_over = attempt == _ATTEMPTS or loop.time() > deadline
                if is_over or not has_lost_race(error):
                    raise
                attempt += 1
            await asyncio.sleep(_PAUSE_SECONDS)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """The one turn to write on SQLite. Raises TimeoutError: others have it for too long."""
        try:
            async with asyncio.timeout(_TURN_SECONDS):
                await self._write_turn.acquire()
        except TimeoutError:
            raise TimeoutError("other transactions write, or wait to, for too long") from None
        try:
            yield
        finally:
            self._write_turn.release()

    @asynccontextmanager
    async def _connected(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        """A connection; whatever keeps it from being made, the database is away."""
        async with AsyncExitStack() as stack:
            try:
                connection = await stack.enter_async_context(engine.connect())
            except Exception as error:
                raise self._refusal(error) from error
            yield connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turns "the database cannot be used now" into a refusal that invites a repeat."""
        if self.failure.reason is not None:
            raise _unavailable()
        try:
            yield
        except Exception as error:
            if not has_disk_failed(error) and not is_away(error):
                raise
            raise self._refusal(error) from error

    def _refusal(self, error: Exception) -> Rejected:
        # SQLAlchemy's text would add the statement.
        reason = str(getattr(error, "orig", error))
        if has_disk_failed(error):
            self.failure.set(f"the database's disk failed: {reason}")
        _log.error("database unavailable", error=reason)
        return _unavailable()


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


def file_of(url: str) -> Path | None:
    """The file of a database; None if it is PostgreSQL's. ``url`` is as for ``Database``."""
    if not url.startswith("sqlite"):
        return None
    database = make_url(url).database
    if not database:
        raise ValueError(f"{url} names no file")
    return Path(database)
