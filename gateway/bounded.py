"""Tables with a bound: what was used least recently, or is the oldest, makes room."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

from contracts.runtime.clock import Clock

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class RecentlyUsed(Generic[Key, Value]):
    """The ``size_max`` values that were used most recently, by key."""

    def __init__(self, size_max: int) -> None:
        self._size_max = size_max
        self._values: OrderedDict[Key, Value] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: Key) -> bool:
        return key in self._values

    def use(self, key: Key) -> Value | None:
        """The value, which counts as used now; or None."""
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def peek(self, key: Key) -> Value | None:
        """The value or None, without a use."""
        return self._values.get(key)

    def put(self, key: Key, value: Value) -> None:
        """Keeps the value; a new key counts as used now, a known one keeps its place."""
        self._values[key] = value
        if len(self._values) > self._size_max:
            self._values.popitem(last=False)

    def discard(self, key: Key) -> None:
        """Drops the value, if there is one."""
        self._values.pop(key, None)

    def keys(self) -> list[Key]:
        """A copy of the keys, in no order."""
        # Not in the order of use: to walk an OrderedDict in its own costs ten times as much.
        return list(dict.keys(self._values))

    def values(self) -> list[Value]:
        """A copy of the values, in no order."""
        return list(dict.values(self._values))

    def items(self) -> list[tuple[Key, Value]]:
        """A copy of the entries, in no order."""
        return list(dict.items(self._values))


class Denials(Generic[Key]):
    """Keys that the backend does not know, each for ``seconds`` and ``size_max`` at most."""

    def __init__(self, clock: Clock, seconds: float, size_max: int) -> None:
        self._clock = clock
        self._seconds = seconds
        self._size_max = size_max
        self._until: OrderedDict[Key, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._until)

    def __contains__(self, key: Key) -> bool:
        until = self._until.get(key)
        return until is not None and self._clock.monotonic() < until

    def add(self, key: Key) -> None:
        """Remembers the key from now on."""
        self._until[key] = self._clock.monotonic() + self._seconds
        self._until.move_to_end(key)
        if len(self._until) > self._size_max:
            self._until.popitem(last=False)

    def discard(self, key: Key) -> None:
        """Forgets the key."""
        self._until.pop(key, None)

    def clear(self) -> None:
        """Forgets all keys."""
        self._until.clear()
