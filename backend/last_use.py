"""When credentials were used last: noted in memory, written once a minute."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from backend.db import Connection, Database
from contracts.runtime.clock import Clock
from contracts.runtime.telemetry import get_logger

INTERVAL_SECONDS = 60.0
_AT_ONCE = 500
_log = get_logger("backend")

Mark = Callable[[Connection, Iterable[tuple[str, int]]], Awaitable[None]]


class LastUse:
    """``note`` the use of genuine credentials; ``run`` writes it for as long as it is not
    cancelled, and ``flush_quietly`` at the end writes the rest. Uses of the last minute are lost if
    the process is killed."""

    def __init__(self, database: Database, clock: Clock, mark: Mark, what: str) -> None:
        """``mark`` writes ids with the times of their last use, in Unix milliseconds; ``what``
        names the credentials in the log."""
        self._database = database
        self._clock = clock
        self._mark = mark
        self._what = what
        self._used: dict[str, int] = {}

    def note(self, ids: Iterable[str]) -> None:
        """These are used now."""
        self._used.update(dict.fromkeys(ids, self._clock.now_ms()))

    def noted(self, id: str) -> int | None:
        """When it was used last, if that is not written yet."""
        return self._used.get(id)

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
            _log.error(f"the use of {self._what} was not recorded", error=str(error))

    async def flush(self) -> None:
        """Writes what was noted, some per transaction. What cannot be written is kept. Raises
        Rejected(UNAVAILABLE)."""
        waiting = list(self._used.items())
        while waiting:
            part, waiting = waiting[:_AT_ONCE], waiting[_AT_ONCE:]
            async with self._database.write() as connection:
                await self._mark(connection, part)
            for id, at_ms in part:
                # What was used again meanwhile is newer.
                if self._used.get(id) == at_ms:
                    del self._used[id]
