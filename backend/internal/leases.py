"""Quota leases come to their end: by their holders' statements, which a recall asks for.

A lease never expires by this clock: its holder may have spooled what it covers. It ends when its
holder says so, or an operator in the place of one that is lost; its units count in its own month
only. See ``contracts.leases`` for why statements may be repeated and overtake each other.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial

from backend.changes import ChangeFeed, bump_revision_in
from backend.db import Database
from backend.internal import lease_store as store
from backend.internal.lease_store import AccountMonth, LeaseRow
from backend.transaction import Conflict, SqlalchemyTransaction, Transaction
from backend.usage.store import add_to_month
from contracts.leases import LeaseAsker, LeaseStatement
from contracts.runtime.clock import Clock

# A holder that has not answered a recall is not asked again before this.
_RECALL_AGAIN_MS = 60_000
_RECALL_WAIT_MS = 1_000
_RECALL_LOOK_SECONDS = 0.1
_ENDED_AT_ONCE = 256
_ATTEMPTS = 3


class LeaseDesk:
    """Takes statements, and recalls what is on lease."""

    def __init__(self, database: Database, clock: Clock, feed: ChangeFeed | None = None) -> None:
        """Without a ``feed`` gateways hear of a recall at the feed's next look at the database."""
        self._database = database
        self._clock = clock
        self._feed = feed
        self._stated = asyncio.Event()

    async def state(self, statement: LeaseStatement) -> str:
        """Takes a statement and returns the holder's session: if it is not the statement's, then
        nothing was changed. Raises Rejected(UNAVAILABLE)."""
        attempt = 1
        while True:
            try:
                session, rows = await self._database.transact(partial(self._enter, statement))
                break
            except Conflict:
                # Another session of the holder has begun in between.
                if attempt == _ATTEMPTS:
                    raise
                attempt += 1
        await self._end(rows, statement.ended)
        return session

    async def write_off(self, holder: str) -> int:
        """Ends all leases of a gateway that is lost; the units that are free again.

        If it comes back after all, what it has spooled is stored, if need be above the quota.
        Raises Rejected(UNAVAILABLE).
        """
        rows = await self._database.transact(
            lambda transaction: store.of_holder(transaction, holder)
        )
        return await self._end(rows, {})

    async def recall(self, months: Collection[AccountMonth]) -> None:
        """Asks for what is on lease there and waits for a second at most; what was given back
        until then is free. Raises Rejected(UNAVAILABLE)."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _RECALL_WAIT_MS / 1000
        is_awaited = await self._database.transact(partial(self._recall, months))
        if is_awaited and self._feed is not None:
            self._feed.announce()
        while is_awaited and (remaining := deadline - loop.time()) > 0:
            stated = self._stated
            is_awaited = await self._is_any_awaited(months)
            if is_awaited:
                with suppress(TimeoutError):
                    await asyncio.wait_for(stated.wait(), min(_RECALL_LOOK_SECONDS, remaining))

    def _recall(self, months: Collection[AccountMonth], transaction: Transaction) -> bool:
        """Recalls what has not been recalled lately; whether answers are to be waited for."""
        store.hold_months(transaction, months)
        rows = store.outstanding(transaction, months)
        due = [row.id for row in rows if not self._was_recalled(row, _RECALL_AGAIN_MS)]
        if due:
            revision = bump_revision_in(transaction)
            store.mark_recalled(transaction, due, self._clock.now_ms(), revision)
        return bool(due) or any(self._was_recalled(row, _RECALL_WAIT_MS) for row in rows)

    async def _is_any_awaited(self, months: Collection[AccountMonth]) -> bool:
        async with self._database.read() as connection:
            rows = await connection.run_sync(
                lambda sync: store.outstanding(SqlalchemyTransaction(sync), months)
            )
        return any(self._was_recalled(row, _RECALL_WAIT_MS) for row in rows)

    def _was_recalled(self, row: LeaseRow, within_ms: int) -> bool:
        # A recall of the future is one of before the clock was set back.
        return (
            row.recalled_at is not None and 0 <= self._clock.now_ms() - row.recalled_at < within_ms
        )

    def _enter(
        self, statement: LeaseStatement, transaction: Transaction
    ) -> tuple[str, Sequence[LeaseRow]]:
        """The holder's session, which the statement may begin, and the leases that it ends.

        The holder's row is held meanwhile: no later session is granted a lease that this one, not
        knowing it, would end.
        """
        now_ms, holder, session = self._clock.now_ms(), statement.holder, statement.session
        current = store.session_of(transaction, holder)
        if current is None:
            store.add_holder(transaction, LeaseAsker(holder, session), now_ms)
        elif current not in {session, statement.after}:
            return current, ()
        elif not store.change_session(transaction, holder, current, session, now_ms):
            raise Conflict("another session of the holder has begun")
        return session, store.stated(transaction, holder, session, statement.ended)

    async def _end(self, rows: Sequence[LeaseRow], spooled: Mapping[str, int]) -> int:
        """Ends leases, apart from the units that are spooled; the units that are free again."""
        freed = 0
        for start in range(0, len(rows), _ENDED_AT_ONCE):
            some = rows[start : start + _ENDED_AT_ONCE]
            freed += await self._database.transact(partial(self._end_some, some, spooled))
        self._stated.set()
        self._stated = asyncio.Event()
        return freed

    def _end_some(
        self, rows: Sequence[LeaseRow], spooled: Mapping[str, int], transaction: Transaction
    ) -> int:
        store.hold_months(transaction, {(row.account_id, row.month) for row in rows})
        total = 0
        for row in store.find(transaction, {row.id for row in rows}):
            # Never more than there was: much may have happened since the statement was made.
            granted = min(row.granted, row.settled + spooled.get(row.id, 0))
            store.end(transaction, row.id, granted, self._clock.now_ms())
            freed = row.granted - granted
            if freed:
                add_to_month(transaction, row.account_id, row.month, 0, -freed)
            total += freed
        return total
