"""Tells the dispatcher of work, so that it need not look for it all the time."""

import asyncio
from contextlib import suppress


class Doorbell:
    """Rung by whoever may have made work; on the event loop's thread only."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """There may be something to do."""
        self._rung.set()

    def silence(self) -> None:
        """Whoever looks for work from here on sees what was rung for before."""
        self._rung.clear()

    async def wait(self, seconds: float) -> None:
        """Returns when it is rung, or after the time-out."""
        # Not ``wait_for``: Python 3.11's swallows a cancellation that comes with the ring.
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._rung.wait()
