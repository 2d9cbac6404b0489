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
    """How much of it: ``cycles`` and ``seconds`` are None for what the release set does, or, if it
    ``is_short``, for what every run of CI does."""

    seed: int
    cycles: int | None = None
    seconds: float | None = None
    is_short: bool = False

    def times(self, full: int, short: int) -> int:
        """How often, of what is done ``full`` times in a release."""
        if self.cycles is not None:
            return self.cycles
        return short if self.is_short else full

    def long(self, full: float, short: float) -> float:
        """How long, of what takes ``full`` seconds in a release."""
        if self.seconds is not None:
            return self.seconds
        return short if self.is_short else full


@dataclass(frozen=True, slots=True)
class Figure:
    """One row: the figure of the reliability table, what was done, what is aimed at and found.

    ``is_kept`` says that every promise was kept, ``is_met`` that everything was as fast as it is to
    be, too.
    """

    number: str
    what: str
    aim: str
    found: dict[str, Any]
    is_kept: bool
    size: str
    notes: list[str] = field(default_factory=list)
    is_fast: bool = True

    @property
    def is_met(self) -> bool:
        """Whether all that is aimed at was found."""
        return self.is_kept and self.is_fast


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
