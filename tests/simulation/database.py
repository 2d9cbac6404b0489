"""The backend's database in memory, with the real schema, and transactions as steps of virtual
time: a crash falls before one, or between its commit and what its caller makes of it."""

import sqlite3
from collections.abc import Callable, Generator
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import StaticPool, create_engine

from backend.changes import bump_revision_in
from backend.internal.lease_store import recalled_since
from backend.tables import metadata
from backend.transaction import SqliteTransaction, Transaction

STEP_SECONDS = 0.002

Result = TypeVar("Result")


class Pause:
    """Awaited, it gives the scheduler back its turn for some virtual seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __await__(self) -> Generator[float, None, None]:
        yield self._seconds


class SimulatedDatabase:
    """In the place of ``backend.db.Database``. ``on_commit`` is called after every commit."""

    def __init__(self, accounts: dict[str, str], forms: dict[str, str]) -> None:
        """``accounts`` and their plans; ``forms`` and their accounts."""
        self.connection, self._transaction = _shared_connection()
        _empty_schema().backup(self.connection)
        self.connection.execute("PRAGMA foreign_keys=ON")
        self.on_commit: Callable[[], None] = lambda: None
        self._fill(accounts, forms)

    async def transact(self, work: Callable[[Transaction], Result]) -> Result:
        """As the real one."""
        await Pause(STEP_SECONDS)
        result = self.run(work)
        self.on_commit()
        await Pause(STEP_SECONDS)
        return result

    def run(self, work: Callable[[Transaction], Result]) -> Result:
        """A transaction at once."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            result = work(self._transaction)
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")
        return result

    def changes(self, since: int) -> tuple[int, dict[str, str]]:
        """The revision, and what was recalled since another."""
        recalls = recalled_since(self._transaction, since)
        return int(self.value("SELECT revision FROM config_state")), recalls

    def value(self, query: str) -> Any:
        """The one value that a query returns."""
        return self.connection.execute(query).fetchone()[0]

    def rows(self, query: str) -> list[Any]:
        """What a query returns."""
        return self.connection.execute(query).fetchall()

    def _fill(self, accounts: dict[str, str], forms: dict[str, str]) -> None:
        execute = self.connection.execute
        execute("INSERT INTO config_state (id, epoch, revision) VALUES (1, 'epoch', 1)")
        for account, plan in accounts.items():
            execute("INSERT INTO accounts VALUES (?, ?, ?, 0)", (account, account, plan))
        for form, account in forms.items():
            execute(
                "INSERT INTO forms (id, account_id, slug, name, status, honeypot_enabled, "
                "honeypot_field, redirect_hosts, mode, allowed_origins, rate_limit_per_minute, "
                "idempotency_strict, turnstile_enabled, turnstile_skip_with_key, "
                "turnstile_on_outage, revision, created_at, updated_at) "
                "VALUES (?, ?, ?, '', 'live', 0, '', '[]', 'live', '[]', 0, 0, 0, 0, '', 1, 0, 0)",
                (form, account, form),
            )
        self.run(bump_revision_in)


@cache
def _shared_connection() -> tuple[sqlite3.Connection, SqliteTransaction]:
    # One for all seeds: its statements stay compiled.
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    return connection, SqliteTransaction(connection)


@cache
def _empty_schema() -> sqlite3.Connection:
    empty = sqlite3.connect(":memory:", check_same_thread=False)
    engine = create_engine("sqlite://", creator=lambda: empty, poolclass=StaticPool)
    metadata.create_all(engine)
    return empty
