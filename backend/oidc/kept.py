"""What the provider publishes, kept for a while."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from backend.oidc.errors import ProviderUnreachable
from contracts.runtime.clock import Clock

KEPT_SECONDS = 3600.0
PAUSE_SECONDS = 60.0
"""Between two that were fetched, whoever wants a newer one."""
PAUSE_AFTER_FAILURE_SECONDS = 5.0

Value = TypeVar("Value")


class Kept(Generic[Value]):
    """One document, fetched when it is wanted and the last one is an hour old. While the provider
    is away the last one serves on. Of many that want it at once one fetches it."""

    def __init__(self, fetch: Callable[[], Awaitable[Value]], clock: Clock) -> None:
        self._fetch = fetch
        self._clock = clock
        self._turn = asyncio.Lock()
        self._value: Value | None = None
        self._fetched_at = 0.0
        self._paused_until = 0.0
        self._failure = ""

    @property
    def last(self) -> Value | None:
        """The last one, however old; without I/O."""
        return self._value

    async def get(self) -> Value:
        """The document. Raises ProviderUnreachable if there has never been one."""
        async with self._turn:
            is_old = self._clock.monotonic() >= self._fetched_at + KEPT_SECONDS
            if self._value is None or is_old:
                await self._renew()
            return self._last_or_raise()

    async def get_newer(self) -> Value:
        """The document, fetched again unless that was tried a moment ago. Raises as ``get``."""
        async with self._turn:
            await self._renew()
            return self._last_or_raise()

    async def _renew(self) -> None:
        if self._clock.monotonic() < self._paused_until:
            return
        pause = PAUSE_AFTER_FAILURE_SECONDS
        try:
            self._value = await self._fetch()
            self._fetched_at = self._clock.monotonic()
            pause = PAUSE_SECONDS
        except ProviderUnreachable as error:
            self._failure = str(error)
        finally:
            self._paused_until = self._clock.monotonic() + pause

    def _last_or_raise(self) -> Value:
        if self._value is None:
            raise ProviderUnreachable(self._failure)
        return self._value
