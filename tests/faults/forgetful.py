"""A disk that forgets, at a power cut, what was not synced: the model, in memory.

What a program writes is there at once, for everybody. Durable is what was there at the last fsync
of the file, and, of a directory, the entries at the last fsync of the directory. A *plain* cut
leaves exactly that. A *torn* one leaves, of what came later, any part: whole sectors, in any order.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

SECTOR_BYTES = 512


@dataclass(frozen=True, slots=True)
class _Write:
    offset: int
    data: bytes

    def sectors(self) -> "list[_Write]":
        """The write cut at the borders of sectors."""
        ends = range(self.offset - self.offset % SECTOR_BYTES + SECTOR_BYTES, 1 << 62, SECTOR_BYTES)
        pieces, start = [], 0
        for end in ends:
            pieces.append(_Write(self.offset + start, self.data[start : end - self.offset]))
            start = end - self.offset
            if start >= len(self.data):
                return pieces
        return pieces

    def apply(self, image: bytearray) -> None:
        if len(image) < self.offset:
            image.extend(bytes(self.offset - len(image)))
        image[self.offset : self.offset + len(self.data)] = self.data


@dataclass(frozen=True, slots=True)
class _Resize:
    size: int

    def sectors(self) -> "list[_Resize]":
        return [self]

    def apply(self, image: bytearray) -> None:
        del image[self.size :]
        image.extend(bytes(self.size - len(image)))


@dataclass(eq=False, slots=True)
class File:
    """A file's bytes, as programs see them and as the disk holds them."""

    mode: int
    now: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    _unsynced: list[_Write | _Resize] = field(default_factory=list)

    def write(self, offset: int, data: bytes) -> None:
        """Writes, in memory."""
        self._do(_Write(offset, data))

    def resize(self, size: int) -> None:
        """Shortens, or extends with zeros, in memory."""
        self._do(_Resize(size))

    def sync(self) -> None:
        """Makes all that was written durable."""
        for change in self._unsynced:
            change.apply(self.durable)
        self._unsynced.clear()

    def forget(self, keeps: Callable[[], bool]) -> None:
        """The cut; ``keeps`` is asked for each unsynced sector."""
        for change in self._unsynced:
            for piece in change.sectors():
                if keeps():
                    piece.apply(self.durable)
        self._unsynced.clear()
        self.now = bytearray(self.durable)

    def _do(self, change: _Write | _Resize) -> None:
        change.apply(self.now)
        self._unsynced.append(change)


@dataclass(eq=False, slots=True)
class Directory:
    """A directory's entries, as programs see them and as the disk holds them."""

    mode: int
    now: "dict[str, File | Directory]" = field(default_factory=dict)
    durable: "dict[str, File | Directory]" = field(default_factory=dict)

    def sync(self) -> None:
        """Makes the entries durable, not what they name."""
        self.durable = dict(self.now)

    def forget(self, keeps: Callable[[], bool]) -> None:
        """The cut, for all below."""
        if not keeps():
            self.now = dict(self.durable)
        self.sync()
        for entry in self.now.values():
            entry.forget(keeps)


def plain_cut() -> Callable[[], bool]:
    """Nothing that was not synced is kept."""
    return lambda: False


def torn_cut(seed: int) -> Callable[[], bool]:
    """What was not synced is kept by chance, a share that differs from cut to cut."""
    chance = random.Random(seed)
    share = chance.random()
    return lambda: chance.random() < share
