"""When keys were used last: noted in memory, written once a minute."""

import asyncio
from collections.abc import Iterable

from backend.db import Database
from backend.keys.store import mark_used
from contracts.runtime.clock import Clock
from contracts.runtime.telemetry import get_logger

INTERVAL_SECONDS = 60.0
_AT_ONCE = 500
_log = get_logger("backend")


class KeyUse:
    """``note`` the use of genuine keys; ``run`` writes it for as long as it is not cancelled, and
    ``flush_quietly`` at the end writes the rest. Uses of the last minute are lost if the process is
    killed."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._used: dict[str, int] = {}

    def note(self, key_ids: Iterable[str]) -> None:
        """These keys, by their public part, are used now."""
        self._used.update(dict.fromkeys(key_ids, self._clock.now_ms()))

    async def run(self) -> None:
        """Flushes once a minute; what goes wrong is logged and tried again."""
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            await self.flush_quietly()

    async def flush_quietly(self) -> None:
        """Flushes; what goes wrong is logged."""
        try:
            await self.flush()
        except Exception as error:
            _log.error("the use of keys was not recorded", error=str(error))

    async def flush(self) -> None:
        """Writes what was noted, some keys per transaction. What cannot be written is kept. Raises
        Rejected(UNAVAILABLE)."""
        used, self._used = self._used, {}
        try:
            while used:
                part = dict(list(used.items())[:_AT_ONCE])
                async with self._database.write() as connection:
                    await mark_used(connection, part.items())
                used = {key_id: at_ms for key_id, at_ms in used.items() if key_id not in part}
        finally:
            # What was used again meanwhile is newer.
            self._used = used | self._used
