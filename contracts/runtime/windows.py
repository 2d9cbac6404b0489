"""Exact sliding windows in memory: a log of hits for each key, kept in two generations.

A storage of the ``limits`` library, for its ``MovingWindowRateLimiter``. The limiter beside it
calls ``test`` and ``charge`` itself: several rules must all be tested before any is charged.
"""

from array import array
from bisect import bisect_right
from typing import TypeAlias

from limits.storage import MovingWindowSupport, Storage

from contracts.runtime.clock import Clock

# One hit is by far the commonest case, and a float needs a third of the memory of an array.
_Hits: TypeAlias = "float | array[float]"


class _Generations:
    """The keys of one window length: those charged since ``rotates_at - seconds``, and those before
    that. A key moves to ``current`` when it is charged, so that whatever is still in ``previous``
    at the next rotation has had no hit for a whole window and is dropped unlooked at."""

    __slots__ = ("current", "previous", "rotates_at")

    def __init__(self, rotates_at: float) -> None:
        self.current: dict[str, _Hits] = {}
        self.previous: dict[str, _Hits] = {}
        self.rotates_at = rotates_at

    def get(self, key: str) -> "_Hits | None":
        hits = self.current.get(key)
        return self.previous.get(key) if hits is None else hits


class SlidingWindows(Storage, MovingWindowSupport):
    """At most ``keys_max`` keys, none of which is ever evicted while it has a live hit.

    A hit at ``t`` is live until, not including, ``t + seconds``. Times are the seconds of the
    clock's ``monotonic``. No timer, no lock, no scan: one event loop owns it, and a method that
    takes ``now`` must get the present.

    When the table is full, a new key shares the window of its ``coarser_key`` (``key_for``). Those
    few are kept beyond ``keys_max``, as are keys that have no coarser one.
    """

    STORAGE_SCHEME = None

    def __init__(self, clock: Clock, keys_max: int = 200_000) -> None:
        super().__init__()
        self._clock = clock
        self._keys_max = keys_max
        self._tables: dict[int, _Generations] = {}
        self._keys = 0

    @property
    def keys_held(self) -> int:
        """How many keys are in memory; those without a live hit leave a window later at most."""
        return self._keys

    @property
    def is_full(self) -> bool:
        """Whether new keys must share windows, as far as known without rotating anything."""
        return self._keys >= self._keys_max

    def key_for(self, key: str, seconds: int, now: float) -> str:
        """The key to test and charge in place of ``key``: another one only if the table is full."""
        table = self._table(seconds, now)
        if not self.is_full or table.get(key) is not None:
            return key
        return coarser_key(key)

    def test(self, key: str, limit: int, seconds: int, now: float) -> float:
        """Seconds until ``key`` has room for one more hit within ``limit``: 0 if it has now."""
        if limit < 1:
            return float(seconds)
        hits = self._table(seconds, now).get(key)
        if hits is None or limit > (1 if isinstance(hits, float) else len(hits)):
            return 0.0
        blocking = hits if isinstance(hits, float) else hits[-limit]
        return max(0.0, blocking - (now - seconds))

    def charge(self, key: str, limit: int, seconds: int, now: float) -> tuple[int, float]:
        """Adds a hit, untested, and keeps the latest ``limit`` hits.

        Returns how many are live, and the seconds until the oldest of them no longer is.
        """
        table = self._table(seconds, now)
        threshold = now - seconds
        hits = self._take(table, key)
        if hits is None or (hits if isinstance(hits, float) else hits[-1]) <= threshold:
            table.current[key] = now
            return 1, float(seconds)
        log = array("d", (hits,)) if isinstance(hits, float) else hits
        if log[0] <= threshold:
            del log[: bisect_right(log, threshold)]
        log.append(now)
        if len(log) > limit > 0:
            del log[:-limit]
        table.current[key] = log
        return len(log), log[0] - threshold

    def _table(self, seconds: int, now: float) -> _Generations:
        table = self._tables.get(seconds)
        if table is None:
            table = self._tables[seconds] = _Generations(now + seconds)
        elif now >= table.rotates_at:
            self._keys -= len(table.previous)
            table.previous = table.current
            table.current = {}
            table.rotates_at = now + seconds
        return table

    def _take(self, table: _Generations, key: str) -> "_Hits | None":
        hits = table.current.get(key)
        if hits is None:
            hits = table.previous.pop(key, None)
            self._keys += hits is None
        return hits

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """``limits``: charges ``amount`` hits if there is room for all of them."""
        now = self._clock.monotonic()
        key = self.key_for(key, expiry, now)
        if self.test(key, limit - amount + 1, expiry, now) > 0.0:
            return False
        for _ in range(amount):
            self.charge(key, limit, expiry, now)
        return True

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """``limits``: the oldest live hit's time (now if there is none), and how many are live."""
        now = self._clock.monotonic()
        hits = self._table(expiry, now).get(self.key_for(key, expiry, now))
        log = () if hits is None else (hits,) if isinstance(hits, float) else hits
        live = log[bisect_right(log, now - expiry) :]
        return (live[0] if live else now), len(live)

    @property
    def base_exceptions(self) -> type[Exception]:
        """``limits``: what this storage may raise."""
        return ValueError

    def check(self) -> bool:
        """``limits``: memory is always there."""
        return True

    def reset(self) -> int:
        """``limits``: forgets everything; returns how many keys that were."""
        keys, self._keys = self._keys, 0
        self._tables.clear()
        return keys

    def clear(self, key: str) -> None:
        """``limits``: forgets one key."""
        for table in self._tables.values():
            for generation in (table.current, table.previous):
                self._keys -= generation.pop(key, None) is not None

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """``limits``: there are no fixed windows here. Raises NotImplementedError."""
        raise NotImplementedError("SlidingWindows serves MovingWindowRateLimiter only")

    def get(self, key: str) -> int:
        """``limits``: there are no fixed windows here. Raises NotImplementedError."""
        raise NotImplementedError("SlidingWindows serves MovingWindowRateLimiter only")

    def get_expiry(self, key: str) -> float:
        """``limits``: there are no fixed windows here. Raises NotImplementedError."""
        raise NotImplementedError("SlidingWindows serves MovingWindowRateLimiter only")


def coarser_key(key: str) -> str:
    """The key of the window that ``key`` shares when the table is full: the part before its first
    slash, or ``key`` itself."""
    return key.partition("/")[0]
