"""A figure of the long set: what was done, what is aimed at, and what was found."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Size:
    """How much of it: ``cycles`` and ``seconds`` are None for what the release set does."""

    seed: int
    cycles: int | None = None
    seconds: float | None = None

    def times(self, full: int) -> int:
        """How often, of what is done ``full`` times in a release."""
        return full if self.cycles is None else self.cycles

    def long(self, full: float) -> float:
        """How long, of what takes ``full`` seconds in a release."""
        return full if self.seconds is None else self.seconds


@dataclass(frozen=True, slots=True)
class Figure:
    """One row: the figure of the reliability table, what was done, what is aimed at and found."""

    number: str
    what: str
    aim: str
    found: dict[str, Any]
    is_met: bool
    size: str
    notes: list[str] = field(default_factory=list)


class CannotRun(Exception):
    """This machine lacks something; the message says what."""


def need(reason: str | None) -> None:
    """Raises CannotRun if there is a reason."""
    if reason is not None:
        raise CannotRun(reason)


@contextmanager
def directory_for(name: str) -> Iterator[Path]:
    """A directory of a run's own, which is removed afterwards."""
    with TemporaryDirectory(prefix=f"formflow-{name}-", ignore_cleanup_errors=True) as path:
        yield Path(path)
