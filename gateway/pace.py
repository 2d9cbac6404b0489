"""How fast a gateway drains its spool into a backend that has just come back.

For some seconds a share of what comes in anyway, then twice as much every second: gateways that all
come back at once must not be the next outage. Since each takes a share of its own traffic, they
remain below that share of the whole however many they are.
"""

from contracts.runtime.clock import Clock

# Rows a second. A gateway that sees next to nothing drains, too.
_RATE_MIN = 5.0
_RATE_MAX = 20_000.0
# Then an outage of ten minutes is drained in less than one, and no faster than that needs: what the
# backend does for the drain, live posts wait for.
_LIVE_TIMES_MAX = 16.0
_RATE_MAX_AT_LEAST = 1_000.0
# The backend is not to get more than 1.2 times its usual rate at first; the rest is for the
# unevenness of the posts themselves.
_LIVE_SHARE = 0.15
_GENTLE_SECONDS = 5.0
# A live post waits for a round at most, so that rounds are short.
_ROUND_SECONDS = 0.04
# A round that took longer was that of a process that had been stopped.
_REST_SECONDS_MAX = 1.0
_RETRY_SECONDS = 0.1
_RETRY_SECONDS_MAX = 3.0


class Pace:
    """Rows a round, and seconds between rounds."""

    def __init__(self, clock: Clock, rows_max: int) -> None:
        self._clock = clock
        self._rows_max = rows_max
        self._began_at: float | None = None
        self._rate_at_first = _RATE_MIN
        self._rate_at_last = _RATE_MAX
        self._failures = 0
        self._took_seconds = 0.0

    def begin(self, arrivals_per_second: float) -> None:
        """The backend has answered; ``arrivals_per_second`` is what came in meanwhile."""
        if self._began_at is None:
            self._began_at = self._clock.monotonic()
            self._rate_at_first = max(_RATE_MIN, _LIVE_SHARE * arrivals_per_second)
            at_last = max(_RATE_MAX_AT_LEAST, _LIVE_TIMES_MAX * arrivals_per_second)
            self._rate_at_last = min(at_last, _RATE_MAX)
        self._failures = 0

    def fail(self) -> float:
        """The seconds until the next probe: twice as many after each that failed."""
        self._began_at = None
        self._took_seconds = 0.0
        self._failures += 1
        return float(min(_RETRY_SECONDS * 2 ** (self._failures - 1), _RETRY_SECONDS_MAX))

    def end(self) -> None:
        """All is drained: the next outage begins anew, also one that fails no probe."""
        self._began_at = None

    @property
    def rows(self) -> int:
        """How many rows the next round may take: one, while the backend has not answered yet."""
        if self._began_at is None:
            return 1
        round_seconds = max(_ROUND_SECONDS, 2 * self._took_seconds)
        return max(1, min(int(self._rate() * round_seconds), self._rows_max))

    def rest_after(self, rows: int, took_seconds: float) -> float:
        """How long to wait after so many rows, which took so long: as long again, so that a backend
        that is slow has half of its time for live posts, or a second if that is shorter."""
        self._took_seconds = took_seconds
        return max(rows / self._rate() - took_seconds, min(took_seconds, _REST_SECONDS_MAX))

    def _rate(self) -> float:
        seconds = 0.0 if self._began_at is None else self._clock.monotonic() - self._began_at
        doublings = min(max(0.0, seconds - _GENTLE_SECONDS), 20.0)
        return float(min(self._rate_at_first * 2**doublings, self._rate_at_last))
