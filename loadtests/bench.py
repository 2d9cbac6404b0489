"""What every scenario works with, and the two kinds of run that most are made of."""

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from loadtests import generator, wrk
from loadtests.durability import evidence_of
from loadtests.measure import Driver, check_answer, measure, settled_rows
from loadtests.product import Product, running_product
from loadtests.results import Run
from loadtests.targets import Target
from loadtests.work import Work

_WARM_UP_SECONDS = 1.0


@dataclass(frozen=True)
class Bench:
    """The terms of a run: an empty directory for its data, how long each load lasts, the driver of
    closed loops, the PostgreSQL server to use instead of SQLite, if any, and how many submissions
    the management API is to have."""

    directory: Path
    seconds: float
    drive: Driver
    postgres: str | None = None
    rows: int = 1_000_000

    def below(self, name: str) -> "Bench":
        """The same terms, with an empty directory for one of several products."""
        return replace(self, directory=self.directory / name)

    def product(self, **settings: str) -> AbstractContextManager[Product]:
        """FormFlow on an empty database."""
        return running_product(self.directory, self.postgres, **settings)

    def closed(self, scenario: str, target: Target, work: Work, connections: int) -> Run:
        """A run in which each connection posts as soon as it has its answer. Raises RunFailed."""
        notes = self.prepare(target, work, connections)
        _, figures = measure(
            target, work, lambda: self.drive(target, work, connections, self.seconds)
        )
        return Run("closed loop", scenario, target.name, figures, notes=notes)

    def paced(self, scenario: str, target: Target, work: Work, rate: float) -> Run:
        """A run at a rate that the target can bear. Raises RunFailed."""
        notes = self.prepare(target, work, connections=8)
        load, figures = measure(
            target, work, lambda: generator.drive_paced(target, work, rate, self.seconds)
        )
        figures["late_p99_ms"] = load.late_p99_ms
        return Run("paced", scenario, target.name, figures, notes=notes)

    def prepare(self, target: Target, work: Work, connections: int) -> dict[str, str]:
        """Checks one answer, warms the target up, and returns the evidence of its durability."""
        check_answer(target, work)
        is_kept = work.stores and not work.is_refused
        notes = evidence_of(target, work, self.directory) if is_kept else {}
        self.drive(target, work, connections, min(_WARM_UP_SECONDS, self.seconds))
        settled_rows(target, 0)
        return notes


def driver_named(name: str) -> Driver:
    """``wrk``, ``own``, or for ``auto`` wrk where there is one."""
    return wrk.drive if name == "wrk" or (name == "auto" and wrk.is_here()) else generator.drive
