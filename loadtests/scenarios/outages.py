"""``outage``: the backend goes away while posts go on, and comes back.

Whatever was acknowledged (200 stored, 202 spooled) must be a row in the end. A post that was
answered 503 may have been stored all the same: its batch was on its way when the answer broke.
"""

import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import monotonic, perf_counter

from loadtests import contact_form, generator
from loadtests.bench import Bench
from loadtests.fleet import Fleet, running_fleet
from loadtests.load import Load
from loadtests.measure import Figures, RunFailed, check_answer, rows_of, settled_rows
from loadtests.results import Run
from loadtests.targets import Target

_RATE = 500.0
# Of the run's seconds: when the backend goes, and when it comes back.
_GOES, _COMES = 0.25, 0.6
_DRAIN_SECONDS_MAX = 120.0
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Outage:
    """How the backend goes away and comes back."""

    begin: Callable[[Fleet], None]
    end: Callable[[Fleet], object]


_OUTAGES = {
    "killed, started again": Outage(
        lambda fleet: fleet.kill("backend"), lambda fleet: fleet.start("backend")
    ),
    "stopped, continued": Outage(
        lambda fleet: fleet.signal("backend", signal.SIGSTOP),
        lambda fleet: fleet.signal("backend", signal.SIGCONT),
    ),
}


def run(name: str, bench: Bench) -> Iterator[Run]:
    """A run for each kind of outage. Raises RunFailed if a post that was acknowledged is lost."""
    for number, (case, outage) in enumerate(_OUTAGES.items()):
        with running_fleet(bench.below(str(number)).directory, gateways=1) as fleet:
            check_answer(fleet.target(), contact_form.URLENCODED)
            figures = _suffer(fleet, outage, bench.seconds)
            yield Run("outage", name, "FormFlow", figures, case)


def _suffer(fleet: Fleet, outage: Outage, seconds: float) -> Figures:
    target, work = fleet.target(), contact_form.URLENCODED
    stored = rows_of(target)
    with ThreadPoolExecutor(1) as driver:
        driving = driver.submit(generator.drive_paced, target, work, _RATE, seconds)
        time.sleep(seconds * _GOES)
        outage.begin(fleet)
        time.sleep(seconds * (_COMES - _GOES))
        outage.end(fleet)
        load = driving.result()
    ended = perf_counter()
    _wait_for_rows(target, stored + load.accepted)
    drained = perf_counter() - ended
    rows = settled_rows(target, 0) - stored
    return {"away_seconds": seconds * (_COMES - _GOES), **_figures(load, rows, drained)}


def _figures(load: Load, rows: int, drained_seconds: float) -> Figures:
    stored, spooled = load.statuses.get("200", 0), load.statuses.get("202", 0)
    unavailable = load.statuses.get("503", 0)
    return {
        "stored_200": stored,
        "spooled_202": spooled,
        "unavailable_503": unavailable,
        "otherwise": load.answered - stored - spooled - unavailable,
        "broken": load.broken,
        "unsent": load.unsent,
        "p99_ms": load.p99_ms,
        "refused_p99_ms": load.refused_p99_ms,
        "acknowledged": load.accepted,
        "rows": rows,
        "drain_seconds": drained_seconds,
    }


def _wait_for_rows(target: Target, wanted: int) -> None:
    deadline = monotonic() + _DRAIN_SECONDS_MAX
    while (rows := rows_of(target)) < wanted:
        if monotonic() > deadline:
            raise RunFailed(f"{wanted} posts acknowledged, {rows} rows after the outage")
        time.sleep(_POLL_SECONDS)
