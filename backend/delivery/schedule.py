"""When a delivery is attempted again."""

import random
from collections.abc import Callable, Sequence

# Those that failed together do not come back together.
_JITTER = 0.1


class Schedule:
    """Pauses between attempts, each by up to a tenth longer or shorter than it is configured."""

    def __init__(
        self,
        pauses_seconds: Sequence[float],
        attempts_max: int,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        """The last of the pauses goes for all attempts after it."""
        self._pauses = tuple(pauses_seconds)
        self._attempts_max = attempts_max
        self._uniform = uniform

    def next_at(self, attempt: int, now_ms: int) -> int | None:
        """When the attempt after ``attempt``, which failed at ``now_ms``, is due, in Unix
        milliseconds; None if there is none."""
        if attempt >= self._attempts_max:
            return None
        pause = self._pauses[min(attempt, len(self._pauses)) - 1]
        return now_ms + round(pause * 1000 * self._uniform(1 - _JITTER, 1 + _JITTER))
