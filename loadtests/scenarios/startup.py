"""``startup``: from exec until everything answers."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

from loadtests.bench import Bench
from loadtests.fleet import running_fleet
from loadtests.product import environment_for, first_line, stop
from loadtests.results import Run


def run(name: str, bench: Bench) -> Iterator[Run]:
    """One start of each kind."""
    with running_fleet(bench.below("fleet").directory, gateways=0) as fleet:
        yield _run(name, "formflow gateway", fleet.start("gateway-0"))
    for case in ("formflow up, nothing there yet", "formflow up, again"):
        yield _run(name, case, _seconds_to_up(bench.below("up").directory))


def _seconds_to_up(directory: Path) -> float:
    command = [sys.executable, "-m", "formflow", "up", "--json", "--port", "0"]
    environment = environment_for(directory, None)
    started = perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
    try:
        # It prints its line once both processes are ready.
        first_line(process)
        return perf_counter() - started
    finally:
        stop(process)


def _run(name: str, case: str, seconds: float) -> Run:
    return Run("startup", name, "FormFlow", {"ready_ms": seconds * 1000}, case)
