"""The clock, as an argument: wall time for what is stored, monotonic time for ages and windows."""

import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol


class Clock(Protocol):
    """Where a process takes its time from."""

    def now_ms(self) -> int:
        """Unix time in milliseconds."""

    def monotonic(self) -> float:
        """Seconds that never step back."""


class SystemClock:
    """The clock of the machine."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    # Not a method around it: it is called a dozen times a post.
    monotonic = staticmethod(time.monotonic)


def iso(unix_ms: int) -> str:
    """ISO 8601 in UTC with milliseconds: ``2026-06-10T10:23:00.000Z``."""
    seconds, milliseconds = divmod(unix_ms, 1000)
    return f"{_iso_seconds(seconds)}.{milliseconds:03d}Z"


@lru_cache(maxsize=1024)
def _iso_seconds(unix_seconds: int) -> str:
    return f"{datetime.fromtimestamp(unix_seconds, UTC):%Y-%m-%dT%H:%M:%S}"
