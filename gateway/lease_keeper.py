"""Says to the backend what the lease book has to say, as soon as there is something."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress

from contracts.internal import UndecodableMessage
from contracts.leases import LeaseStatement
from contracts.problems import Rejected
from contracts.runtime.telemetry import get_logger
from gateway.leases import LeaseBook
from gateway.upstream import UpstreamUnavailable

_LOOK_SECONDS = 60.0
_RETRY_SECONDS = 0.1
_RETRY_SECONDS_MAX = 5.0
_GIVE_BACK_SECONDS = 2.0


class LeaseKeeper:
    """The one task that makes statements, one at a time."""

    def __init__(self, book: LeaseBook, state: Callable[[LeaseStatement], Awaitable[str]]) -> None:
        """``state`` sends a statement and returns the session that the backend knows."""
        self._book = book
        self._state = state
        self._log = get_logger("gateway")

    async def run(self) -> None:
        """Works until cancelled."""
        pause = _RETRY_SECONDS
        while True:
            # Not ``wait_for``: Python 3.11's may swallow a cancellation.
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._book.due.wait()
            self._book.end_idle()
            if await self._state_what_is_due():
                pause = _RETRY_SECONDS
                continue
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 -- jitter
            pause = min(pause * 2, _RETRY_SECONDS_MAX)

    async def give_back(self) -> bool:
        """Ends every lease, while ``run`` does not work, and returns whether the backend has taken
        note; what cannot be said within two seconds is said at the next start."""
        self._book.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(_GIVE_BACK_SECONDS):
                while self._book.due.is_set():
                    if not await self._state_what_is_due():
                        return False
                return True
        return False

    async def _state_what_is_due(self) -> bool:
        if not self._book.due.is_set():
            return True
        statement = self._book.statement()
        try:
            session = await self._state(statement)
        except (UpstreamUnavailable, UndecodableMessage, Rejected) as error:
            self._log.warning("leases not stated", error=str(error))
            self._book.fail()
            return False
        self._book.acknowledge(statement, session)
        return True
