"""What runs found: figures by name, kept run by run, as JSON."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

import orjson


@dataclass(frozen=True)
class Run:
    """One run of one case of a scenario on one target.

    ``kind`` names the scenarios whose figures make one table. A figure's name ends with its unit:
    ``_us``, ``_ms``, ``_mb``, ``_per_second``; ``gateway_us`` is that process's CPU for a post.
    """

    kind: str
    scenario: str
    target: str
    figures: dict[str, float]
    case: str = ""
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def subject(self) -> tuple[str, str, str, str]:
        """What it measured: runs of one subject are repetitions."""
        return self.kind, self.scenario, self.case, self.target


@dataclass(frozen=True)
class Results:
    """All runs, in the order they were made, and the machine they ran on. ``failures`` are runs
    that say nothing about speed, and why."""

    machine: dict[str, str]
    runs: tuple[Run, ...]
    failures: tuple[str, ...] = ()

    def write(self, path: Path) -> None:
        """Keeps them in a file."""
        path.write_bytes(orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2) + b"\n")

    @classmethod
    def read(cls, path: Path) -> "Results":
        """What ``write`` kept."""
        document = orjson.loads(path.read_bytes())
        runs = tuple(Run(**run) for run in document["runs"])
        return cls(document["machine"], runs, tuple(document["failures"]))


def medians(runs: Iterable[Run]) -> list[Run]:
    """One run for each subject, each figure the median of its repetitions'."""
    repetitions: dict[tuple[str, str, str, str], list[Run]] = {}
    for run in runs:
        repetitions.setdefault(run.subject, []).append(run)
    return [_median(same) for same in repetitions.values()]


def _median(runs: Sequence[Run]) -> Run:
    first = runs[0]
    names = dict.fromkeys(name for run in runs for name in run.figures)
    figures = {
        name: median(run.figures[name] for run in runs if name in run.figures) for name in names
    }
    return Run(first.kind, first.scenario, first.target, figures, first.case, first.notes)
