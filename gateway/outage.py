"""Whether the backend is away, as this gateway sees it.

The first failed batch begins an outage: from then on posts go straight to the spool, and no visitor
waits for a backend that does not answer. The drain alone asks whether it is back, one probe at a
time, and ends it.
"""

import asyncio

from contracts.runtime.clock import Clock
from contracts.runtime.telemetry import get_logger


class Outage:
    """One gateway's view of the backend."""

    def __init__(self, clock: Clock) -> None:
        self.is_on = False
        self._clock = clock
        self._began_at = 0.0
        self._work = asyncio.Event()
        self._log = get_logger("gateway")

    def begin(self, reason: str) -> None:
        """The backend has failed a call."""
        if not self.is_on:
            self.is_on = True
            self._began_at = self._clock.monotonic()
            self._log.warning("backend away", error=reason)
        self.wake()

    def end(self) -> None:
        """The backend has answered."""
        if self.is_on:
            self.is_on = False
            seconds = round(self._clock.monotonic() - self._began_at, 1)
            self._log.warning("backend back", seconds=seconds)

    def wake(self) -> None:
        """There is something for the drain to do."""
        self._work.set()

    async def work(self) -> None:
        """Waits for the next ``wake``, or for one that was not waited for."""
        await self._work.wait()
        self._work.clear()
