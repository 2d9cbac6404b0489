"""How many attempts may be under way, at each target and in all: no target delays another.

A target begins with one attempt at a time; each one that it takes in good time doubles that, each
failure puts it back to one. One that keeps failing is left alone between two attempts, for longer
and longer. A quarter of the pool is for targets whose last attempt was good: however many others
hang, these go on.
"""

import resource
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from contracts.runtime.clock import Clock

AT_ONCE_MAX = 8
_POOL_MAX = 1024
_FAILURES_BEFORE_PAUSE = 5
_PAUSE_SECONDS = 0.1
_PAUSE_SECONDS_MAX = 10.0
# A target that takes longer holds its place in the pool, and gets no second one for it.
_SLOW_SECONDS = 2.0
_KNOWN_MAX = 20_000


@dataclass(slots=True)
class _Target:
    allowed: int = 1
    under_way: int = 0
    is_proven: bool = False
    failures: int = 0
    # By the monotonic clock: until then it is left alone.
    rests_until: float = 0.0


class Targets:
    """What is under way at each target, and how it went before. Targets that nothing is known of
    are forgotten first, so that their number is bounded."""

    def __init__(self, clock: Clock, pool_size: int) -> None:
        self._clock = clock
        self._pool_size = pool_size
        self._unproven_max = max(1, pool_size * 3 // 4)
        self._under_way = 0
        self._unproven_under_way = 0
        self._targets: OrderedDict[str, _Target] = OrderedDict()

    def rooms(self, targets: Iterable[str]) -> dict[str, int]:
        """How many more attempts may start at each of the targets, all of them together; those
        without room are left out. The first ones get what there is of the pool."""
        found: dict[str, int] = {}
        free = self._pool_size - self._under_way
        unproven_free = self._unproven_max - self._unproven_under_way
        for target in targets:
            known = self._targets.get(target)
            is_proven = known is not None and known.is_proven
            room = min(self._allowed(known), free if is_proven else min(free, unproven_free))
            if room <= 0:
                continue
            found[target] = room
            free -= room
            unproven_free -= 0 if is_proven else room
        return found

    def _allowed(self, known: "_Target | None") -> int:
        if known is None:
            return 1
        if known.rests_until > self._clock.monotonic():
            return 0
        return known.allowed - known.under_way

    def seconds_until_rested(self, target: str) -> float:
        """How long a target is still left alone."""
        known = self._targets.get(target)
        return max(0.0, known.rests_until - self._clock.monotonic()) if known else 0.0

    def start(self, target: str) -> bool:
        """Counts an attempt; ``end`` wants to know whether the target was proven when it began."""
        known = self._targets.setdefault(target, _Target())
        self._targets.move_to_end(target)
        known.under_way += 1
        self._under_way += 1
        self._unproven_under_way += not known.is_proven
        return known.is_proven

    def end(self, target: str, was_proven: bool, *, is_good: bool, seconds: float) -> None:
        """Counts the end of an attempt that took so long."""
        known = self._targets[target]
        known.under_way -= 1
        self._under_way -= 1
        self._unproven_under_way -= not was_proven
        if is_good:
            known.is_proven, known.failures, known.rests_until = True, 0, 0.0
            if seconds < _SLOW_SECONDS:
                known.allowed = min(AT_ONCE_MAX, known.allowed * 2)
        else:
            known.is_proven, known.allowed = False, 1
            known.failures += 1
            known.rests_until = self._clock.monotonic() + _pause(known.failures)
        self._forget_some()

    def _forget_some(self) -> None:
        while len(self._targets) > _KNOWN_MAX:
            target, known = next(iter(self._targets.items()))
            if known.under_way:
                self._targets.move_to_end(target)
                return
            del self._targets[target]


def pool_size() -> int:
    """How many attempts this process may have under way: each has a connection, and most file
    descriptors are the server's."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _POOL_MAX if hard == resource.RLIM_INFINITY else max(1, min(_POOL_MAX, hard // 4))


def _pause(failures: int) -> float:
    """How long a target is left alone after so many failures in a row."""
    if failures < _FAILURES_BEFORE_PAUSE:
        return 0.0
    return min(
        _PAUSE_SECONDS_MAX, _PAUSE_SECONDS * 2.0 ** min(failures - _FAILURES_BEFORE_PAUSE, 9)
    )
