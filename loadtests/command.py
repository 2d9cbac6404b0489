"""``python -m loadtests``: runs scenarios in turn, again and again, and shows the medians."""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
from rich.console import Console
from rich.progress import Progress

from loadtests import chart, machine, report, wrk
from loadtests.bench import Bench, driver_named
from loadtests.cores import leave_the_generators_core
from loadtests.results import Results, Run
from loadtests.scenarios import BASIC, SCENARIOS

_PEERS_REPEAT = 5
# What a target or a driver fails with: the other runs are none the worse for it.
_FAILURES = (RuntimeError, httpx.HTTPError, subprocess.TimeoutExpired)


class CannotRun(Exception):
    """What was asked for cannot be run here; the message is one line."""


@dataclass(frozen=True)
class Options:
    """What to run and where to put it. ``repeat`` None is the scenario's own number; ``directory``
    is where data is kept meanwhile, the system's temporary directory by default."""

    scenarios: tuple[str, ...] = BASIC
    peers: bool = False
    seconds: float = 6.0
    repeat: int | None = None
    driver: str = "auto"
    postgres: str | None = None
    rows: int = 1_000_000
    directory: Path | None = None
    json: Path | None = None
    chart: Path | None = None


@dataclass(frozen=True)
class Job:
    """Something to run ``repeat`` times."""

    name: str
    repeat: int
    run: Callable[[Bench], Iterator[Run]]


def run(options: Options) -> int:
    """Runs, prints the medians, writes what is asked for; returns the exit status.

    Raises:
        CannotRun: there is no such scenario, or something that was asked for is not installed.
    """
    if options.driver == "wrk" and not wrk.is_here():
        raise CannotRun("this machine has no wrk (Debian: apt-get install wrk)")
    leave_the_generators_core()
    jobs = _compared(options) if options.peers else _scenarios(options)
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        results = Results(machine.describe(Path(directory)), ())
    results = _carry_out(jobs, options, results.machine)
    if options.json:
        results.write(options.json)
    show(results, options.chart, as_markdown=False)
    return 1 if results.failures else 0


def show(results: Results, chart_file: Path | None, *, as_markdown: bool) -> None:
    """Prints results as tables, and draws the comparison."""
    if as_markdown:
        sys.stdout.write(report.markdown(results))
    else:
        report.print_tables(results)
    if chart_file:
        chart_file.write_text(chart.draw(results), encoding="utf-8")


def _scenarios(options: Options) -> list[Job]:
    names = tuple(SCENARIOS) if options.scenarios == ("all",) else options.scenarios
    if unknown := set(names) - set(SCENARIOS):
        raise CannotRun(
            f"no such scenario: {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}"
        )

    def job(name: str) -> Job:
        scenario = SCENARIOS[name]
        return Job(name, options.repeat or scenario.repeat, lambda bench: scenario.run(name, bench))

    return [job(name) for name in names]


def _compared(options: Options) -> list[Job]:
    try:
        from loadtests.comparison import compare, targets_here
    except ModuleNotFoundError as error:
        raise CannotRun(f"the peers come with FormFlow's source only: {error}") from None

    def job(name: str) -> Job:
        return Job(name, options.repeat or _PEERS_REPEAT, lambda bench: compare(name, bench))

    names, missing = targets_here()
    for name, why in missing.items():
        sys.stderr.write(f"not compared: {name}: {why}\n")
    return [job(name) for name in names]


def _carry_out(jobs: Sequence[Job], options: Options, facts: dict[str, str]) -> Results:
    """Every job once, then every job once more: what disturbs the machine disturbs all alike."""
    console = Console(stderr=True)
    runs: list[Run] = []
    failures: list[str] = []
    turns = [(job, n) for n in range(max(job.repeat for job in jobs)) for job in jobs]
    turns = [(job, n) for job, n in turns if n < job.repeat]
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("", total=len(turns))
        for job, n in turns:
            progress.update(bar, description=f"{job.name} ({n + 1} of {job.repeat})")
            try:
                for finished in _once(job, options):
                    runs.append(finished)
            except _FAILURES as error:
                failures.append(f"{job.name}: {error}")
            progress.advance(bar)
    return Results(facts, tuple(runs), tuple(failures))


def _once(job: Job, options: Options) -> Iterator[Run]:
    with tempfile.TemporaryDirectory(prefix="formflow-load-", dir=options.directory) as directory:
        drive = driver_named(options.driver)
        yield from job.run(
            Bench(Path(directory), options.seconds, drive, options.postgres, options.rows)
        )
