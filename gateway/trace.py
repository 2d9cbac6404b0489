"""The decision trace of a post: which checks ran, what each decided, how long each took."""

import orjson

from contracts.runtime.clock import Clock


class Trace:
    """Rows of (check, verdict, microseconds since the row before), in order."""

    __slots__ = ("_clock", "_marked_at", "rows")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._marked_at = clock.monotonic()
        self.rows: list[tuple[str, str, int]] = []

    def mark(self, check: str, verdict: str) -> None:
        """Notes that ``check`` has just decided ``verdict``."""
        now = self._clock.monotonic()
        self.rows.append((check, verdict, int((now - self._marked_at) * 1_000_000)))
        self._marked_at = now

    def encode(self) -> str:
        """The rows as JSON text, as they are stored."""
        return orjson.dumps(self.rows).decode()
