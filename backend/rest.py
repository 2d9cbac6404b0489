"""How long background work rests between its steps: the writer and the processors belong to the
intake."""

import time
from collections.abc import Callable


class Rest:
    """A step is followed by a pause of ``factor`` times as long, or of ``busy_factor`` times while
    the intake is busy: while what ``count`` counts grows by more than ``busy_per_second``."""

    def __init__(
        self, count: Callable[[], int], busy_per_second: float, factor: float, busy_factor: float
    ) -> None:
        self._count = count
        self._busy_per_second = busy_per_second
        self._factor = factor
        self._busy_factor = busy_factor
        self._counted = (time.monotonic(), count())
        self.is_busy = False

    def seconds(self, step_seconds: float) -> float:
        """The pause after a step that took so long and has just ended."""
        now = time.monotonic()
        before, count = self._counted
        self._counted = (now, self._count())
        rate = (self._counted[1] - count) / max(now - before, 0.001)
        self.is_busy = rate > self._busy_per_second
        return step_seconds * (self._busy_factor if self.is_busy else self._factor)
