"""PostgreSQL vanishes without a word, as a machine does that loses its power or its network: what
waits for it ends in time, and does not stand in the way once it is back."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import pytest
from sqlalchemy import make_url, text

from backend import engines
from backend.db import Database
from backend.transaction import Transaction
from contracts.problems import Problem, Rejected

# Longer than any of the statements takes on a busy machine.
_STATEMENT_SECONDS = 1.5
_IDLE_MS = 1_500
# For the statement, the end of its connection, and what a busy machine takes.
_BOUND_SECONDS = 9.0
# Ten connections that stay, and five more for a while.
_POOL_MAX = 15

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.parametrize("database_url", ["postgresql"], indirect=True),
]


@dataclass
class Link:
    """A relay to the server (a host, or the directory of its socket, and the port); while
    ``is_cut`` it takes everything and passes nothing on."""

    host: str
    port: int
    is_cut: bool = False
    url: str = ""
    _writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a client's."""
        self._writers.append(writer)
        with suppress(OSError):
            upstream_reader, upstream = await self._connect()
            self._writers.append(upstream)
            await asyncio.gather(self._pass(reader, upstream), self._pass(upstream_reader, writer))

    def close(self) -> None:
        """Ends all connections."""
        for writer in self._writers:
            writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self.host.startswith("/"):
            return await asyncio.open_unix_connection(f"{self.host}/.s.PGSQL.{self.port}")
        return await asyncio.open_connection(self.host, self.port)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(65_536):
            if not self.is_cut:
                writer.write(piece)
        if not self.is_cut:
            writer.close()


@asynccontextmanager
async def linked(url: str) -> AsyncIterator[Link]:
    """A link to the server of a database's URL."""
    parsed = make_url(url)
    host = parsed.query.get("host", parsed.host)
    link = Link(str(host), parsed.port or 5432)
    server = await asyncio.start_server(link.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    through = parsed.set(drivername="postgresql+asyncpg", host="127.0.0.1", port=port, query={})
    link.url = through.render_as_string(hide_password=False)
    try:
        yield link
    finally:
        server.close()
        link.close()


@asynccontextmanager
async def database_at(url: str) -> AsyncIterator[Database]:
    database = Database(url)
    try:
        yield database
    finally:
        await database.close()


def one(transaction: Transaction) -> int:
    return int(transaction.rows(text("SELECT 1 AS one"), {})[0].one)


async def read_one(database: Database) -> int:
    async with database.read() as connection:
        return int((await connection.execute(text("SELECT 1"))).scalar_one())


async def write_one(database: Database) -> int:
    async with database.write() as connection:
        return int((await connection.execute(text("SELECT 1"))).scalar_one())


def uses_of(database: Database, times: int) -> Iterator[Coroutine[Any, Any, int]]:
    """So many of each way to use it."""
    for _ in range(times):
        yield database.transact(one)
        yield read_one(database)
        yield write_one(database)


@pytest.fixture(autouse=True)
def is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_STATEMENT_SECONDS", _STATEMENT_SECONDS)
    monkeypatch.setattr(engines, "_IDLE_IN_TRANSACTION_MS", _IDLE_MS)


async def test_a_server_that_is_silent_is_away_and_keeps_no_connection(database_url: str) -> None:
    async with linked(database_url) as link, database_at(link.url) as database:
        assert await asyncio.gather(*uses_of(database, 2)) == [1] * 6
        link.is_cut = True
        async with asyncio.timeout(_BOUND_SECONDS):
            found = await asyncio.gather(*uses_of(database, 2), return_exceptions=True)
        assert [error.problem for error in found if isinstance(error, Rejected)] == (
            [Problem.UNAVAILABLE] * 6
        )
        link.is_cut = False
        async with asyncio.timeout(_BOUND_SECONDS):
            assert await asyncio.gather(*uses_of(database, _POOL_MAX // 3)) == [1] * _POOL_MAX


async def test_a_statement_that_waits_for_a_lock_for_too_long_ends_and_lets_go(
    database_url: str,
) -> None:
    async with linked(database_url) as link, database_at(link.url) as database:
        other = await asyncpg.connect(database_url)
        try:
            async with other.transaction():
                await other.execute("LOCK TABLE forms IN ACCESS EXCLUSIVE MODE")
                with pytest.raises(Rejected) as caught:
                    async with database.read() as connection:
                        await connection.execute(text("SELECT count(*) FROM forms"))
                assert caught.value.problem is Problem.UNAVAILABLE
                waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                async with asyncio.timeout(_BOUND_SECONDS):
                    while await other.fetchval(f"{waiting} AND datname = current_database()"):
                        await asyncio.sleep(0.01)
        finally:
            await other.close()
        assert await read_one(database) == 1


async def test_what_a_machine_had_locked_that_has_vanished_is_free_again(database_url: str) -> None:
    async with linked(database_url) as link, database_at(link.url) as vanished:
        other = await asyncpg.connect(database_url)
        vanishing = asyncio.create_task(lock_and_vanish(vanished, link))
        async with asyncio.timeout(_BOUND_SECONDS):
            while not link.is_cut:
                await asyncio.sleep(0.01)
            assert await other.fetchval("SELECT count(*) FROM forms") == 0
        await other.close()
        with pytest.raises(Rejected):
            await vanishing


async def lock_and_vanish(database: Database, link: Link) -> None:
    async with database.write() as connection:
        await connection.execute(text("LOCK TABLE forms IN ACCESS EXCLUSIVE MODE"))
        link.is_cut = True
