"""Virtual time: what happens when, decided by one seeded source of chance."""

import heapq
from collections.abc import Callable, Coroutine
from itertools import count
from random import Random
from typing import Any

from contracts.problems import Rejected


class Schedule:
    """Runs what is due, in order of virtual time; ``now`` is in seconds."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.now = 0.0
        self._numbers = count()
        self._due: list[tuple[float, int, Callable[[], None]]] = []

    def after(self, seconds: float, work: Callable[[], None]) -> None:
        """Does ``work`` so many seconds from now."""
        heapq.heappush(self._due, (self.now + seconds, next(self._numbers), work))

    def run(self, until: float) -> None:
        """Does all that is due up to that time."""
        while self._due and self._due[0][0] <= until:
            self.now, _, work = heapq.heappop(self._due)
            work()
        self.now = until


class SimulatedClock:
    """A node's clock: virtual time, with a wall clock that may jump."""

    def __init__(self, schedule: Schedule, start_ms: int) -> None:
        self._schedule = schedule
        self.start_ms = start_ms

    def now_ms(self) -> int:
        return self.start_ms + round(self._schedule.now * 1000)

    def monotonic(self) -> float:
        return self._schedule.now

    def jump(self, seconds: float) -> None:
        """Sets the wall clock."""
        self.start_ms += round(seconds * 1000)


class Running:
    """A coroutine of the backend's, resumed by the schedule; what it awaits are pauses."""

    def __init__(
        self,
        schedule: Schedule,
        coroutine: Coroutine[float, None, Any],
        on_end: Callable[[Any], None],
    ) -> None:
        self._schedule = schedule
        self._coroutine = coroutine
        self._on_end = on_end
        self._is_killed = False
        self._step()

    def kill(self) -> None:
        """The process crashed: it goes no further."""
        self._is_killed = True
        self._coroutine.close()

    def _step(self) -> None:
        if self._is_killed:
            return
        try:
            pause = self._coroutine.send(None)
        except StopIteration as end:
            self._on_end(end.value)
        except Rejected:
            self._on_end(None)
        else:
            jitter = self._schedule.random.random() * pause
            self._schedule.after(pause + jitter, self._step)
