"""How many requests a server works on at once, and in which order the rest have their turn.

A process that works on two thousand requests at once does a fifth less of them a second than one
that works on five hundred: what each holds has left the processor's caches before its next step. A
request that waits for its turn has been read, and costs nothing more until then.
"""

import asyncio
from collections import deque
from collections.abc import Callable

# One batch of a gateway under way, and half of the next.
AT_ONCE = 384
# Who is at work for longer than one or two of these waits for something else than the processor.
_ROUND_SECONDS = 0.1


class Turns:
    """Lets ``at_once`` requests work, and more of them where those wait for something else.

    What works for longer than two rounds is not counted any more, so that requests that all wait
    for a server that hangs hold up others for a moment only.
    """

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._at_once = at_once
        self._round = 0
        # At work, by the round in which they began: this one and the one before.
        self._working = [0, 0]
        self._waiting: deque[Callable[[], None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def wait(self, loop: asyncio.AbstractEventLoop, start: Callable[[], None]) -> None:
        """Calls ``start``, which is to ``begin``, when it is its turn: now, if that is free."""
        if not self._waiting and self._has_room:
            start()
            return
        self._waiting.append(start)
        if self._timer is None:
            self._timer = loop.call_later(_ROUND_SECONDS, self._next_round, loop)

    def begin(self) -> int:
        """Somebody works from now on; what ``end`` is to be told."""
        self._working[self._round & 1] += 1
        return self._round

    def end(self, began: int) -> None:
        """Who began in that round is done: the next have their turn."""
        if began >= self._round - 1:
            self._working[began & 1] -= 1
        if self._waiting:
            self._let_in()

    @property
    def _has_room(self) -> bool:
        return self._working[0] + self._working[1] < self._at_once

    def _let_in(self) -> None:
        while self._waiting and self._has_room:
            self._waiting.popleft()()

    def _next_round(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        self._round += 1
        self._working[self._round & 1] = 0
        self._let_in()
        if self._waiting:
            self._timer = loop.call_later(_ROUND_SECONDS, self._next_round, loop)
