"""Follows the backend's change feed, so that a change acts here within a second."""

import asyncio
import random
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Protocol

from contracts.internal import (
    FEED_WAIT_SECONDS,
    ChangesAnswer,
    GatewayState,
    UndecodableMessage,
)
from contracts.problems import Rejected
from contracts.runtime.clock import Clock
from contracts.runtime.telemetry import get_logger
from gateway.config.ages import SILENT_SECONDS
from gateway.upstream import Upstream, UpstreamUnavailable

_RETRY_SECONDS = 0.1
_RETRY_SECONDS_MAX = 2.0


class FedCache(Protocol):
    """Something that the feed keeps current."""

    def apply(self, changes: ChangesAnswer) -> None:
        """Takes over what the feed says."""


class FeedState(Enum):
    """Whether changes reach this gateway."""

    WAITING = "waiting"
    HEARD = "heard"
    SILENT = "silent"
    ENDED = "ended"


class Feed:
    """One long poll after the other. ``was_heard`` is true from the first answer on."""

    def __init__(
        self,
        upstream: Upstream,
        caches: Sequence[FedCache],
        clock: Clock,
        on_interrupted: Callable[[], None] = lambda: None,
        describe: Callable[[], GatewayState | None] = lambda: None,
    ) -> None:
        """``on_interrupted`` is called whenever the backend has not answered; ``describe`` is what
        each poll tells it of this gateway."""
        self._upstream = upstream
        self._caches = caches
        self._clock = clock
        self._on_interrupted = on_interrupted
        self._describe = describe
        self._epoch = ""
        self._revision = 0
        self._heard_at: float | None = None
        self._has_ended = False
        self._log = get_logger("gateway")

    @property
    def was_heard(self) -> bool:
        """Whether the feed has answered since this process started."""
        return self._heard_at is not None

    @property
    def silent_seconds(self) -> float | None:
        """How long ago the feed was heard; None if it never was."""
        return None if self._heard_at is None else self._clock.monotonic() - self._heard_at

    @property
    def state(self) -> FeedState:
        """Silent after ten seconds; ended when nothing follows it any more."""
        if self._has_ended:
            return FeedState.ENDED
        seconds = self.silent_seconds
        if seconds is None:
            return FeedState.WAITING
        return FeedState.HEARD if seconds < SILENT_SECONDS else FeedState.SILENT

    def resume(self, epoch: str, revision: int) -> None:
        """Goes on where an earlier process stood; called before ``follow``."""
        self._epoch, self._revision = epoch, revision

    async def follow(self) -> None:
        """Polls until cancelled. However it ends, ``state`` says so."""
        try:
            await self._poll()
        except Exception:
            self._log.exception("feed ended")
            raise
        finally:
            self._has_ended = True

    async def _poll(self) -> None:
        pause = _RETRY_SECONDS
        # The first answer, also after an interruption, is to say at once where things stand.
        wait_seconds = 0
        while True:
            try:
                changes = await self._upstream.changes(
                    self._epoch, self._revision, wait_seconds, self._describe()
                )
                self._apply(changes)
                wait_seconds = FEED_WAIT_SECONDS
            except (UpstreamUnavailable, UndecodableMessage, Rejected) as error:
                self._on_interrupted()
                wait_seconds = 0
                if pause == _RETRY_SECONDS:
                    self._log.warning("feed interrupted", error=str(error))
                await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 -- jitter
                pause = min(pause * 2, _RETRY_SECONDS_MAX)
            else:
                if pause != _RETRY_SECONDS:
                    self._log.info("feed heard again")
                pause = _RETRY_SECONDS

    def _apply(self, changes: ChangesAnswer) -> None:
        for cache in self._caches:
            cache.apply(changes)
        self._epoch, self._revision = changes.epoch, changes.revision
        self._heard_at = self._clock.monotonic()
