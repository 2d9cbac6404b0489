"""Directories below a root, made where they are missing, and made durable no oftener than needed.

A directory survives a crash once the one above it was synced after it was made, and that one
likewise, up to the one that holds the root. What this process has seen synced is remembered; a
new process knows nothing, and syncs everything once more. Everything blocks; threads may share it.
"""

import os
from collections.abc import Iterable
from pathlib import Path

# Some hundred bytes each: the forms of some months.
_KNOWN_MAX = 50_000


class DurableDirectories:
    """The directories below ``root``, an absolute path. Everything raises OSError."""

    def __init__(self, root: Path) -> None:
        self._top = str(root.parent)
        self._known: set[str] = set()

    def make(self, directory: str) -> None:
        """Makes a directory, and those above it, where they are missing."""
        # Forgotten first: whoever sees the new one must not find that the old one was durable.
        self._known.discard(directory)
        try:
            os.mkdir(directory, 0o700)
        except FileExistsError:
            return
        except FileNotFoundError:
            self.make(os.path.dirname(directory))
            self.make(directory)

    def settle(self, directories: Iterable[str]) -> None:
        """Makes it durable that these directories exist; ``sync`` does so for their entries."""
        settled: set[str] = set()
        above = {os.path.dirname(directory) for directory in directories}
        while above:
            for directory in above:
                sync(directory)
            settled |= above
            new = above - self._known - {self._top}
            above = {os.path.dirname(directory) for directory in new} - settled
        if len(self._known) + len(settled) > _KNOWN_MAX:
            self._known.clear()
        self._known |= settled

    def forget(self, directory: str) -> None:
        """Is told that a directory is about to be removed."""
        self._known.discard(directory)


def sync(path: str) -> None:
    """Makes the bytes of a file, or the entries of a directory, durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
