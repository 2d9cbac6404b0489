"""Indexes submissions behind the commit, which knows nothing of it.

Whatever is not indexed yet is found all the same: a search looks through it, text by text
(``backend.submissions.service``). So the index may lag, and the indexer can be gentle: short
steps, and after each a pause of several times as long, or of a hundred times while many submissions
come in. What was there before the index, after an upgrade, is indexed in the same way.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from backend.db import Database
from backend.rest import Rest
from backend.search import store
from backend.search.store import LATE_MS, Document, Pending
from backend.search.words import words_of_payload
from backend.transaction import Conflict, Transaction
from contracts.ids import first_id
from contracts.runtime.clock import Clock
from contracts.runtime.telemetry import get_logger

# The index is called complete up to this long ago. The difference to ``LATE_MS`` is what a commit
# may take, and the clocks of backends may differ by.
_BEHIND_MS = LATE_MS + 20_000
_BATCH = 100
_IDLE_SECONDS = 2.0
# The writer and the processors belong to the intake: the indexer has them for a quarter of the time
# at most, and hardly ever while there is much to commit.
_REST = 3.0
_REST_WHILE_BUSY = 100.0
_BUSY_BATCHES_PER_SECOND = 20.0
_REST_MIN_SECONDS = 0.01
_PATROL_SECONDS = 900.0
_PATROL_BATCH = 5_000
_PURGE_SECONDS = 24 * 3600.0
_PURGE_FIRST_SECONDS = 600.0
_PURGE_PAGES = 64
_EARLIEST = first_id("sub", 0)
# After every id that there can be.
_LATEST = "sub_~"
_log = get_logger("backend")


class Indexer:
    """``run`` indexes for as long as it is not cancelled. Several backends may run one each."""

    def __init__(
        self, database: Database, clock: Clock, count_batches: Callable[[], int] = lambda: 0
    ) -> None:
        """``count_batches`` tells how many batches the intake has committed."""
        self._database = database
        self._clock = clock
        self._rest = Rest(count_batches, _BUSY_BATCHES_PER_SECOND, _REST, _REST_WHILE_BUSY)
        # Where the pass over what may have no document is.
        self._position = ""
        # The newest submission that was indexed since the index was last called complete.
        self._newest = _EARLIEST

    async def run(self) -> None:
        """Indexes, patrols and purges; what goes wrong is logged and tried again."""
        patrol_at = time.monotonic() + _PATROL_SECONDS
        purge_at = time.monotonic() + _PURGE_FIRST_SECONDS
        while True:
            try:
                await self.catch_up()
                if time.monotonic() >= patrol_at:
                    patrol_at = time.monotonic() + _PATROL_SECONDS
                    await self.patrol()
                if time.monotonic() >= purge_at:
                    purge_at = time.monotonic() + _PURGE_SECONDS
                    await self.purge()
            except Exception as error:
                _log.error("indexing for search failed", error=str(error))
            await asyncio.sleep(_IDLE_SECONDS)

    async def catch_up(self) -> None:
        """Indexes all that is committed. Raises Rejected(UNAVAILABLE)."""
        while await self._gently(self._index_late()):
            pass
        while await self._gently(self._index_next()):
            pass

    async def patrol(self) -> None:
        """Notes as late what the index lacks though it should be complete: something was committed
        later than the clocks let expect. Raises Rejected(UNAVAILABLE)."""
        after, found = "", 0
        while True:
            async with self._database.read() as connection:
                ids, after = await store.overlooked(connection, after, _PATROL_BATCH)
            if ids:
                found += len(ids)
                async with self._database.write() as connection:
                    await store.note_all_late(connection, ids)
            if not after:
                break
            await asyncio.sleep(_REST_MIN_SECONDS)
        if found:
            _log.info("submissions overlooked by the indexer", count=found)

    async def purge(self) -> None:
        """Rewrites SQLite's index if something was removed from it: until then it has the words of
        what is gone, though not whose they were. Raises Rejected(UNAVAILABLE)."""
        if not self._database.is_sqlite or not await self._database.transact(store.take_removed):
            return
        pages = -_PURGE_PAGES
        while await self._gently(self._write(partial(store.merge, pages=pages))):
            pages = _PURGE_PAGES

    async def _index_late(self) -> bool:
        """Indexes some of those noted as late; whether there may be more."""
        async with self._database.read() as connection:
            found = await store.late(connection, _BATCH)
        if not found:
            return False

        def work(transaction: Transaction) -> bool:
            if not store.hold_index(transaction):
                return False
            store.add_documents(transaction, documents)
            store.forget_late(transaction, [item.id for item in found])
            return True

        documents = await asyncio.to_thread(_documents, found)
        return await self._write(work) and len(found) == _BATCH

    async def _index_next(self) -> bool:
        """Indexes some of what is not indexed; whether there may be more."""
        certain = first_id("sub", self._clock.now_ms() - _BEHIND_MS)
        async with self._database.read() as connection:
            found = await store.pending(connection, self._position, _BATCH)
        is_last = len(found) < _BATCH
        before = certain if is_last else min(certain, found[-1].id)
        if not found and not self._newest < before:
            return False

        def work(transaction: Transaction) -> bool:
            if not store.hold_index(transaction):
                return False
            store.add_documents(transaction, documents)
            store.complete(transaction, before)
            return True

        documents = await asyncio.to_thread(_documents, found)
        if not await self._write(work):
            return False
        self._newest = found[-1].id if found else _LATEST
        self._position = "" if is_last else found[-1].id
        return not is_last

    async def _gently(self, step: Awaitable[bool]) -> bool:
        """The result of a step, after a rest."""
        started = time.monotonic()
        more = await step
        rest = self._rest.seconds(time.monotonic() - started)
        await asyncio.sleep(max(rest, _REST_MIN_SECONDS))
        return more

    async def _write(self, work: Callable[[Transaction], bool]) -> bool:
        """The result of a transaction."""
        try:
            return await self._database.transact(work)
        except Conflict:
            # A submission went in that moment: without it, the next time.
            return False


def _documents(found: Sequence[Pending]) -> list[Document]:
    return [
        Document(item.id, " ".join(words_of_payload(item.payload)))
        for item in found
        if item.payload is not None
    ]
