"""Follows the backend's change feed, so that a change acts here within a second."""

import asyncio
import random
from collections.abc import Sequence
from typing import Protocol

from contracts.internal import ChangesAnswer, UndecodableMessage
from contracts.problems import Rejected
from contracts.runtime.telemetry import get_logger
from gateway.upstream import Upstream, UpstreamUnavailable

_RETRY_SECONDS = 0.1
_RETRY_SECONDS_MAX = 2.0


class FedCache(Protocol):
    """Something that the feed keeps current."""

    def apply(self, changes: ChangesAnswer) -> None:
        """Takes over what the feed says."""


class Feed:
    """One long poll after the other. ``was_heard`` is true from the first answer on."""

    def __init__(self, upstream: Upstream, caches: Sequence[FedCache]) -> None:
        self._upstream = upstream
        self._caches = caches
        self._epoch = ""
        self._revision = 0
        self._log = get_logger("gateway")
        self.was_heard = False

    async def follow(self) -> None:
        """Polls until cancelled."""
        pause = _RETRY_SECONDS
        while True:
            try:
                self._apply(await self._upstream.changes(self._epoch, self._revision))
                pause = _RETRY_SECONDS
            except (UpstreamUnavailable, UndecodableMessage, Rejected) as error:
                self._log.warning("feed interrupted", error=str(error))
                await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 -- jitter
                pause = min(pause * 2, _RETRY_SECONDS_MAX)

    def _apply(self, changes: ChangesAnswer) -> None:
        for cache in self._caches:
            cache.apply(changes)
        self._epoch, self._revision = changes.epoch, changes.revision
        self.was_heard = True
