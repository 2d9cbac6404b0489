"""How long background work rests between its steps: the writer and the processors belong to the
intake."""

import time
from collections.abc import Callable


class Rest:
    """A step is followed by a pause of ``least`` to ``most`` times as long: the more, the faster
    grows what ``count`` counts, up to ``busy_per_second``. Above that the intake is busy."""

    def __init__(
        self, count: Callable[[], int], busy_per_second: float, least: float, most: float
    ) -> None:
        self._count = count
        self._busy_per_second = busy_per_second
        self._least = least
        self._most = most
        self._counted = (time.monotonic(), count())
        self.is_busy = False

    def seconds(self, step_seconds: float) -> float:
        """The pause after a step that took so long and has just ended."""
        now = time.monotonic()
        before, count = self._counted
        self._counted = (now, self._count())
        rate = (self._counted[1] - count) / max(now - before, 0.001)
        self.is_busy = rate > self._busy_per_second
        share = min(rate / self._busy_per_second, 1.0)
        return step_seconds * max(self._least, share * self._most)
