"""Removes deleted forms: buried in the request, emptied behind it.

A transaction removes some rows only, and between two of them the writer is free for as long as the
last one took: a form of a million submissions holds nobody up. What a crash interrupts goes on at
the next start, because a buried form with rows is itself the note that there is something to do.
"""

import asyncio
from collections.abc import Awaitable, Callable

from backend.db import Connection, Database
from backend.delivery import bulk_store as delivery_store
from backend.files import FileStore, delete_quietly
from backend.forms.creation import SLUG_KEPT_MS
from backend.removal import store
from backend.removal.store import Removed
from contracts.runtime.clock import Clock
from contracts.runtime.telemetry import get_logger

BATCH = 200
_PAUSE_SECONDS = 0.01
_FILES_AT_ONCE = 1_000
_log = get_logger("backend")


class Removal:
    """``run`` empties what is buried, for as long as it is not cancelled."""

    def __init__(self, database: Database, files: FileStore, clock: Clock) -> None:
        self._database = database
        self._files = files
        self._clock = clock
        self._is_wanted = asyncio.Event()
        # At the start: an earlier process may have left something.
        self._is_wanted.set()

    async def begin(self, connection: Connection, form_id: str) -> Removed:
        """Removes the first rows of a form in the transaction that buries it: most forms are then
        gone as a whole. ``go_on`` follows after the commit."""
        await delivery_store.remove_webhooks_of_form(connection, form_id)
        await store.remove_idempotency_keys(connection, form_id, BATCH)
        return await store.remove_submissions(connection, form_id, None, BATCH)

    async def go_on(self, begun: Removed) -> None:
        """Removes the files of what was begun; the rest follows behind the request."""
        await self.remove_files(begun)
        self._is_wanted.set()

    async def run(self) -> None:
        """Removes what is wanted, whenever something is; what goes wrong is logged, and tried again
        with the next sweep."""
        while True:
            await self._is_wanted.wait()
            self._is_wanted.clear()
            try:
                await self.remove_buried()
            except Exception as error:
                _log.error("removal failed", error=str(error))

    async def sweep(self) -> None:
        """Removes what is left of deleted forms, and tombstones whose slug is free again. Raises
        Rejected(UNAVAILABLE)."""
        await self.remove_buried()
        freed_at = self._clock.now_ms() - SLUG_KEPT_MS
        while True:
            async with self._database.write() as connection:
                removed = await store.remove_tombstones(connection, freed_at, BATCH)
            if removed < BATCH:
                return

    async def remove_buried(self) -> None:
        """Empties every deleted form. Raises Rejected(UNAVAILABLE)."""
        async with self._database.read() as connection:
            buried = await store.buried_forms(connection)
        for form_id in buried:
            await self.remove_submissions(form_id)
            await self._remove_all(store.remove_idempotency_keys, form_id)
            await self._remove_all(delivery_store.remove_of_form, form_id)

    async def remove_submissions(self, form_id: str, before: str | None = None) -> None:
        """Removes all submissions of a form, or those of an id below ``before``, with their files.
        Raises Rejected(UNAVAILABLE)."""
        while True:
            started = self._clock.monotonic()
            async with self._database.write() as connection:
                removed = await store.remove_submissions(connection, form_id, before, BATCH)
            await self.remove_files(removed)
            if removed.count < BATCH:
                return
            await self._pause(started)

    async def remove_files(self, removed: Removed) -> None:
        """Removes the files of removed rows; those that cannot be removed now are swept later."""
        keys = removed.object_keys
        for start in range(0, len(keys), _FILES_AT_ONCE):
            await delete_quietly(self._files, keys[start : start + _FILES_AT_ONCE])

    async def _remove_all(
        self, remove: Callable[[Connection, str, int], Awaitable[int]], form_id: str
    ) -> None:
        while True:
            started = self._clock.monotonic()
            async with self._database.write() as connection:
                removed = await remove(connection, form_id, BATCH)
            if removed < BATCH:
                return
            await self._pause(started)

    async def _pause(self, started: float) -> None:
        await asyncio.sleep(max(_PAUSE_SECONDS, self._clock.monotonic() - started))
