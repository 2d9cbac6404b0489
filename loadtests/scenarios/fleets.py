"""``fleet``: one, two and four gateways on one backend."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from loadtests import contact_form
from loadtests.bench import Bench
from loadtests.fleet import Fleet, running_fleet
from loadtests.load import Load, together
from loadtests.measure import check_answer, measure, settled_rows
from loadtests.results import Run

_SIZES = (1, 2, 4)
_CONNECTIONS = 128
_WARM_UP_SECONDS = 1.0


def run(name: str, bench: Bench) -> Iterator[Run]:
    """A run for each size, with as many connections in all. Raises RunFailed."""
    for size in _SIZES:
        with running_fleet(bench.below(str(size)).directory, size) as fleet:
            target, work = fleet.target(), contact_form.URLENCODED
            check_answer(target, work)
            _drive_all(fleet, bench, _WARM_UP_SECONDS)
            settled_rows(target, 0)
            _, figures = measure(target, work, lambda: _drive_all(fleet, bench, bench.seconds))
            yield Run("fleet", name, target.name, figures, f"{size} gateway{'s' * (size > 1)}")


def _drive_all(fleet: Fleet, bench: Bench, seconds: float) -> Load:
    """Loads every gateway at once, by a driver of its own."""
    names = fleet.gateways()
    share = _CONNECTIONS // len(names)
    with ThreadPoolExecutor(len(names)) as drivers:
        loads = [
            drivers.submit(bench.drive, fleet.target(name), contact_form.URLENCODED, share, seconds)
            for name in names
        ]
        return together([load.result() for load in loads])
