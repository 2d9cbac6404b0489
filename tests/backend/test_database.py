"""The database goes away, or is held by somebody else: a refusal that invites a repeat, never a
failure, and the next call works."""

import asyncio
import os
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager, suppress

import asyncpg
import httpx
import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from starlette.applications import Starlette

from backend.api import finish_app
from backend.forms.store import FormRow
from backend.internal.batches import BatchEndpoint
from backend.internal.routes import internal_routes
from backend.management import Services
from contracts import internal
from contracts.ids import new_id
from contracts.problems import Rejected
from tests.backend.builders import Account, add_account, add_form
from tests.backend.conftest import INTERNAL_TOKEN
from tests.support.builders import NOW_MS, submission
from tests.support.clock import ManualClock

OK, UNAVAILABLE = 200, 503
AT_ONCE = 6
# Two seconds for the turn to write and two for SQLite's lock, and what a busy machine takes.
BOUND_SECONDS = 9.0

pytestmark = pytest.mark.asyncio
on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


class Peer:
    """A gateway that sends batches of one post to its form."""

    def __init__(self, http: httpx.AsyncClient, form: FormRow) -> None:
        self.form = form
        self._http = http

    async def post(self, submission_id: str | None = None) -> httpx.Response:
        """The answer to a batch."""
        item = submission(id=submission_id or new_id("sub", NOW_MS), form_id=self.form.id)
        return await self._http.post(internal.SUBMISSIONS, content=internal.encode_batch([item]))


@pytest_asyncio.fixture
async def peer(services: Services) -> AsyncIterator[Peer]:
    base = services.settings.problem_base
    rest = finish_app(
        Starlette(routes=internal_routes(services, INTERNAL_TOKEN)), base, services.clock
    )
    transport = httpx.ASGITransport(BatchEndpoint(rest, services.intake, INTERNAL_TOKEN, base))
    headers = {"authorization": f"Bearer {INTERNAL_TOKEN}"}
    form = await add_form(services, await add_account(services))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://backend", headers=headers
    ) as http:
        yield Peer(http, form)


@asynccontextmanager
async def operator(url: str, database: str | None = None) -> AsyncIterator[asyncpg.Connection]:
    """A connection of somebody else's to the server."""
    connection = await asyncpg.connect(url, **({} if database is None else {"database": database}))
    try:
        yield connection
    finally:
        await connection.close()


async def stored(services: Services) -> int:
    async with services.database.read() as connection:
        return int(
            (await connection.execute(text("SELECT count(*) FROM submissions"))).scalar_one()
        )


async def end_all(connection: asyncpg.Connection, name: str) -> None:
    """Ends every connection to that database but this one; they are closed when it returns."""
    rows = await connection.fetch(
        "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = $1 AND pid <> pg_backend_pid()",
        name,
    )
    for row in rows:
        while runs(row["pid"]):
            await asyncio.sleep(0.005)
    # A round trip, in which the event loop hears of the ends, too.
    await connection.fetchval("SELECT 1")


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def until_one_waits(connection: asyncpg.Connection) -> None:
    """Returns when a statement of somebody else's waits for a lock."""
    waiting = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    async with asyncio.timeout(20):
        while not await connection.fetchval(waiting):
            await asyncio.sleep(0.005)


def name_of(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[2]


def assert_invites_a_repeat(answer: httpx.Response) -> None:
    assert answer.status_code == UNAVAILABLE, answer.text
    assert answer.json()["type"].endswith("/unavailable")
    assert int(answer.headers["retry-after"]) > 0


@on_postgresql
async def test_connections_that_ended_while_idle_fail_nothing(
    services: Services, peer: Peer, database_url: str
) -> None:
    async with operator(database_url) as other:
        for _ in range(3):
            await asyncio.gather(*(peer.post() for _ in range(AT_ONCE)))
            await end_all(other, name_of(database_url))
            assert (await peer.post()).status_code == OK
    assert await stored(services) == 3 * (AT_ONCE + 1)


@on_postgresql
async def test_a_connection_that_ends_within_a_batch_stores_nothing_and_invites_a_repeat(
    services: Services, peer: Peer, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    submission_id = new_id("sub", NOW_MS)
    async with operator(database_url) as other:
        async with other.transaction():
            await other.execute("LOCK TABLE submissions IN EXCLUSIVE MODE")
            sent = asyncio.create_task(peer.post(submission_id))
            await until_one_waits(other)
            await end_all(other, name_of(database_url))
            assert_invites_a_repeat(await sent)
        assert await stored(services) == 0
        logged = capsys.readouterr().out
        assert "database unavailable" in logged
        assert "ada@example.com" not in logged
        assert (await peer.post(submission_id)).status_code == OK
    assert await stored(services) == 1


@on_postgresql
async def test_nothing_fails_while_all_connections_are_ended_at_any_instant(
    services: Services,
    peer: Peer,
    client: httpx.AsyncClient,
    database_url: str,
    clock: ManualClock,
) -> None:
    statuses = Counter[int]()
    is_over = False

    async def send() -> None:
        while not is_over:
            statuses[(await peer.post()).status_code] += 1
            statuses[(await client.get("/v1/forms")).status_code] += 1
            # However many calls it takes, none is one too many for its key.
            clock.advance(2)

    senders = [asyncio.create_task(send()) for _ in range(4)]
    async with operator(database_url) as other, asyncio.timeout(60):
        for number in range(12):
            before = statuses[OK]
            while statuses[OK] < before + number:
                await asyncio.sleep(0.001)
            await end_all(other, name_of(database_url))
    is_over = True
    await asyncio.gather(*senders)
    assert statuses.keys() <= {OK, UNAVAILABLE}
    assert (await peer.post()).status_code == OK


@on_postgresql
async def test_a_batch_that_deadlocks_is_committed_at_the_next_attempt(
    services: Services, peer: Peer, database_url: str
) -> None:
    await peer.post()
    async with operator(database_url) as other:
        # The batch looks for a deadlock after the server's second, and so is the one to be ended.
        await other.execute("SET deadlock_timeout = '20s'")
        async with other.transaction():
            await other.execute("SELECT * FROM form_days FOR UPDATE")
            sent = asyncio.create_task(peer.post())
            await until_one_waits(other)
            # Which the batch has locked in turn: this returns when the batch has been ended.
            await other.execute("SELECT * FROM forms FOR UPDATE")
            assert not sent.done()
        assert (await sent).status_code == OK
    assert await stored(services) == 2


@on_postgresql
async def test_a_server_that_refuses_connections_is_away(
    services: Services, peer: Peer, client: httpx.AsyncClient, database_url: str
) -> None:
    name = name_of(database_url)
    async with operator(database_url, "postgres") as other:
        await other.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await end_all(other, name)
        for answer in (await peer.post(), await client.get("/v1/forms")):
            assert_invites_a_repeat(answer)
        await other.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    assert (await peer.post()).status_code == OK


@on_postgresql
async def test_a_server_that_has_become_a_standby_is_left(
    services: Services, peer: Peer, client: httpx.AsyncClient, database_url: str
) -> None:
    name = name_of(database_url)
    async with operator(database_url, "postgres") as other:
        await other.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        await end_all(other, name)
        assert_invites_a_repeat(await peer.post())
        # A connection is told at its start what it may do.
        await other.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    assert (await peer.post()).status_code == OK
    assert (await client.post("/v1/forms", json={"name": "News"})).status_code == 201


@on_postgresql
async def test_a_pool_that_is_used_up_is_waited_for_no_longer_than_the_bound(
    services: Services, peer: Peer
) -> None:
    async with AsyncExitStack() as stack, asyncio.timeout(BOUND_SECONDS):
        with suppress(Rejected):
            while True:
                await stack.enter_async_context(services.database.read())
        assert_invites_a_repeat(await peer.post())
    assert (await peer.post()).status_code == OK


async def test_a_statement_that_is_wrong_is_not_called_an_outage(services: Services) -> None:
    wrong = text("SELECT nothing FROM nowhere")
    with pytest.raises((DBAPIError, sqlite3.Error)):
        await services.database.transact(lambda transaction: transaction.rows(wrong, {}))
    with pytest.raises(DBAPIError):
        async with services.database.write() as connection:
            await connection.execute(wrong)


@contextmanager
def held(services: Services) -> Iterator[None]:
    """Another process's transaction, which writes."""
    with closing(sqlite3.connect(str(services.database.file), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@on_sqlite
async def test_changes_that_queue_behind_somebody_elses_lock_are_refused_in_time(
    services: Services, client: httpx.AsyncClient, account: Account
) -> None:
    path = f"/v1/forms/{(await add_form(services, account)).id}"
    with held(services):
        async with asyncio.timeout(BOUND_SECONDS):
            changes = [
                asyncio.create_task(client.patch(path, json={"name": f"Name {number}"}))
                for number in range(AT_ONCE)
            ]
            while not all(change.done() for change in changes):
                assert (await client.get(path)).status_code == OK
                # The API takes 300 requests a minute.
                await asyncio.sleep(0.2)
    for change in changes:
        assert_invites_a_repeat(change.result())
    assert (await client.patch(path, json={"name": "Free"})).status_code == OK


@on_sqlite
async def test_batches_that_queue_behind_somebody_elses_lock_are_refused_in_time(
    services: Services, peer: Peer
) -> None:
    with held(services):
        async with asyncio.timeout(BOUND_SECONDS):
            answers = await asyncio.gather(*(peer.post() for _ in range(AT_ONCE)))
    for answer in answers:
        assert_invites_a_repeat(answer)
    assert (await peer.post()).status_code == OK
    assert await stored(services) == 1
