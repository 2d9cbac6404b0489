"""Looks up again, in the background, what a cache holds and can no longer be sure of.

Nobody waits for it and a failure changes nothing, except that the next attempt comes later. What is
used while it is stale is asked at once; what a gap of the feed has made stale is swept in batches,
one batch at a time, so that a returning backend is not overrun.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from typing import Any, Generic, TypeVar

from contracts.runtime.clock import Clock
from gateway.batching import QueueFull

_PAUSE_SECONDS = 0.5
_PAUSE_SECONDS_MAX = 10.0
# What a hanging backend may keep from those who wait for an answer.
_UNDER_WAY_MAX = 512
_SWEEP_KEYS = 256

Key = TypeVar("Key", bound=Hashable)


class Revalidation(Generic[Key]):
    """One cache's. ``ask`` puts a question whose answer the cache takes over by itself."""

    def __init__(self, clock: Clock, ask: Callable[[Key], asyncio.Future[Any]]) -> None:
        self._clock = clock
        self._ask = ask
        self._under_way: set[Key] = set()
        self._pause = 0.0
        self._not_before = float("-inf")
        self._to_sweep: deque[Key] = deque()
        self._sweeping: set[Key] = set()
        self._is_stale: Callable[[Key], bool] = lambda _: True

    def want(self, key: Key) -> None:
        """Asks for the key, unless the backend has just failed or is busy with others."""
        if self._clock.monotonic() >= self._not_before:
            self._start(key)

    def sweep(self, keys: Iterable[Key], is_stale: Callable[[Key], bool]) -> None:
        """Goes through the keys, as the backend answers, and asks for those still stale."""
        self._to_sweep = deque(keys)
        self._is_stale = is_stale

    def resume(self) -> None:
        """The backend is there: what failed before may be tried again."""
        self._pause, self._not_before = 0.0, float("-inf")
        self._sweep_next()

    def _sweep_next(self) -> None:
        if self._sweeping:
            return
        while self._to_sweep and len(self._sweeping) < _SWEEP_KEYS:
            key = self._to_sweep.popleft()
            if not self._is_stale(key):
                continue
            if not self._start(key):
                self._to_sweep.append(key)
                return
            self._sweeping.add(key)

    def _start(self, key: Key) -> bool:
        if key in self._under_way:
            return True
        if len(self._under_way) >= _UNDER_WAY_MAX:
            return False
        try:
            future = self._ask(key)
        except QueueFull:
            return False
        self._under_way.add(key)
        future.add_done_callback(lambda done: self._end(key, done))
        return True

    def _end(self, key: Key, done: asyncio.Future[Any]) -> None:
        self._under_way.discard(key)
        was_swept = key in self._sweeping
        self._sweeping.discard(key)
        if done.cancelled() or done.exception() is not None:
            self._back_off()
            if was_swept:
                self._to_sweep.append(key)
            return
        self._pause = 0.0
        if was_swept and not self._sweeping:
            self._sweep_next()

    def _back_off(self) -> None:
        now = self._clock.monotonic()
        if now < self._not_before:
            return
        self._pause = min(max(2 * self._pause, _PAUSE_SECONDS), _PAUSE_SECONDS_MAX)
        self._not_before = now + self._pause * random.uniform(0.8, 1.2)  # noqa: S311 -- jitter
