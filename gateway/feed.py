"""Follows the backend's change feed, so that a change acts here within a second."""

import asyncio
import random

from contracts.internal import ChangesAnswer, UndecodableMessage
from contracts.problems import Rejected
from contracts.runtime.telemetry import get_logger
from gateway.forms import FormCache
from gateway.keys import KeyCache
from gateway.upstream import Upstream, UpstreamUnavailable

_RETRY_SECONDS = 0.1
_RETRY_SECONDS_MAX = 2.0


class Feed:
    """One long poll after the other. ``was_heard`` is true from the first answer on."""

    def __init__(self, upstream: Upstream, forms: FormCache, keys: KeyCache) -> None:
        self._upstream = upstream
        self._forms = forms
        self._keys = keys
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
        self._forms.apply(changes)
        self._keys.apply(changes)
        self._epoch, self._revision = changes.epoch, changes.revision
        self.was_heard = True
