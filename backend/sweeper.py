"""Removes what nothing refers to any more: files without a submission, keys that have
expired, leases that are settled."""

import asyncio
from collections.abc import Awaitable, Callable

from backend.db import Database
from backend.file_port import FileStore
from backend.idempotency import store as answers
from backend.internal.idempotency import delete_expired
from backend.internal.lease_store import delete_past
from backend.submissions.file_store import known_keys
from contracts.files import is_object_key
from contracts.runtime.clock import Clock
from contracts.runtime.telemetry import get_logger

# A file is stored before its submission: for so long, one without a row is not yet an orphan.
ORPHAN_MS = 3600 * 1000
FIRST_SECONDS = 60.0
INTERVAL_SECONDS = 600.0
_KEYS_AT_ONCE = 1_000
_PAST_MS = 60 * 24 * ORPHAN_MS
_log = get_logger("backend")


class Sweeper:
    """``run`` sweeps from time to time, for as long as it is not cancelled."""

    def __init__(
        self,
        database: Database,
        files: FileStore,
        clock: Clock,
        *others: Callable[[], Awaitable[object]],
    ) -> None:
        """``others`` are further things to remove at every sweep, by those whose they are."""
        self._database = database
        self._files = files
        self._clock = clock
        self._others = others

    async def run(self) -> None:
        """Sweeps every ten minutes; what goes wrong is logged and tried again."""
        await asyncio.sleep(FIRST_SECONDS)
        while True:
            await self.sweep()
            await asyncio.sleep(INTERVAL_SECONDS)

    async def sweep(self) -> None:
        """Sweeps once; what cannot be swept now, is logged and keeps nothing else from it."""
        for sweep in (self.sweep_keys, self.sweep_leases, self.sweep_files, *self._others):
            try:
                await sweep()
            except Exception as error:
                _log.error("sweep failed", error=str(error))

    async def sweep_leases(self) -> None:
        """Removes leases that ended long ago and are settled in full."""
        async with self._database.write() as connection:
            before_ms = self._clock.now_ms() - _PAST_MS
            await delete_past(connection, before_ms, limit=_KEYS_AT_ONCE)

    async def sweep_files(self) -> int:
        """Removes the files that have been without a submission for an hour; how many it were.

        Only what has the shape of our keys counts: the directory or bucket may hold other things.
        """
        removed = 0
        async for batch in self._files.keys_before(self._clock.now_ms() - ORPHAN_MS):
            keys = [key for key in batch if is_object_key(key)]
            async with self._database.read() as connection:
                known = await known_keys(connection, keys)
            orphans = [key for key in keys if key not in known]
            await self._files.delete(orphans)
            removed += len(orphans)
        if removed:
            _log.info("orphaned files removed", count=removed)
        return removed

    async def sweep_keys(self) -> int:
        """Removes expired idempotency keys, some per transaction; how many it were."""
        removed = 0
        while True:
            async with self._database.write() as connection:
                now_ms = self._clock.now_ms()
                count = await delete_expired(connection, now_ms, limit=_KEYS_AT_ONCE)
                answered = await answers.delete_expired(connection, now_ms, limit=_KEYS_AT_ONCE)
            removed += count + answered
            if max(count, answered) < _KEYS_AT_ONCE:
                return removed
