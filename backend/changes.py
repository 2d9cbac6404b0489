"""The configuration revision and the feed that tells gateways what changed.

Every transaction that changes a form or a key bumps one counter row and stamps the changed row
with it. The counter's row lock makes revisions visible in order, which a sequence would not. What
changed since a revision is then simply the rows stamped higher. ``epoch`` names the database's
history: a restored backup starts a new one.
"""

import asyncio
import secrets
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.db import Database
from backend.tables import config_state
from backend.transaction import Transaction

# Another process may have written to the same database: its changes are noticed this often.
_POLL_SECONDS = 0.25


_bump = (
    update(config_state)
    .values(revision=config_state.c.revision + bindparam("step"))
    .returning(config_state.c.revision)
)


@dataclass(frozen=True, slots=True)
class ConfigState:
    """Where the configuration stands."""

    epoch: str
    revision: int


async def bump_revision(connection: AsyncConnection) -> int:
    """The next revision, taken inside the transaction that makes the change."""
    return int((await connection.execute(_bump, {"step": 1})).scalar_one())


def bump_revision_in(transaction: Transaction) -> int:
    """As ``bump_revision``, for a transaction that is one synchronous function."""
    [row] = transaction.rows(_bump, {"step": 1})
    return int(row.revision)


async def read_state(connection: AsyncConnection) -> ConfigState:
    """The state that this transaction sees."""
    row = (await connection.execute(select(config_state.c.epoch, config_state.c.revision))).one()
    return ConfigState(row.epoch, row.revision)


async def create_state(connection: AsyncConnection) -> None:
    """Gives a new database its epoch, if it has none."""
    if (await connection.execute(select(config_state.c.id))).first() is None:
        await connection.execute(
            insert(config_state).values(id=1, epoch=secrets.token_hex(8), revision=1)
        )


class ChangeFeed:
    """Lets those who wait for a change know of one."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._changed = asyncio.Event()
        self._is_closing = False

    def close(self) -> None:
        """From now on nobody waits for longer than a poll: the process is about to stop."""
        self._is_closing = True
        self.announce()

    def announce(self) -> None:
        """Wakes all who wait; called after the commit of a change."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait_beyond(self, revision: int, timeout_seconds: float) -> ConfigState:
        """The state as soon as it is beyond ``revision``, or as it is after the time-out."""
        deadline = asyncio.get_running_loop().time() + timeout_seconds
        while True:
            changed = self._changed
            async with self._database.read() as connection:
                state = await read_state(connection)
            remaining = deadline - asyncio.get_running_loop().time()
            if state.revision > revision or remaining <= 0:
                return state
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), min(_POLL_SECONDS, remaining))
            if self._is_closing:
                return state
