"""How many items a batch may have, so that a slow backend ends it within the deadline.

A batch that is too large for its deadline fails whole, and the next one like it: then a backend
that could take a hundred a second seems to take none. A failure alone says nothing of that, only
one that took as long as a batch may.
"""

_ITEMS_MIN = 8
_ITEMS_FOR_LONG_WAYS = 64


class BatchSize:
    """``items`` is the bound, ``items_max`` at first. With a deadline of infinity it stays so."""

    def __init__(self, items_max: int, deadline_seconds: float) -> None:
        self.items = items_max
        self._items_max = items_max
        self._deadline_seconds = deadline_seconds

    def note_success(self, seconds: float) -> None:
        """A batch took so long."""
        if self.items == self._items_max:
            return
        share = seconds / self._deadline_seconds
        # Twice as large, and behind as large a one of another sender, it would still end in time.
        if share < 0.2:
            self.items = min(2 * self.items, self._items_max)
        elif share > 0.75 and self.items < _ITEMS_FOR_LONG_WAYS:
            # So small a batch that takes nearly all of its time has a long way: a larger one may
            # take no longer.
            self.items += _ITEMS_MIN

    def note_failure(self, seconds: float, items: int) -> None:
        """A batch of so many failed after so long."""
        if seconds >= self._deadline_seconds:
            self.items = min(self.items, max(items // 4, _ITEMS_MIN))
