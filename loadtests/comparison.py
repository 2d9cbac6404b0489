"""FormFlow beside its peers: the same loads on each in turn."""

from collections.abc import Iterator
from contextlib import contextmanager

from loadtests import contact_form
from loadtests.bench import Bench
from loadtests.peers import PEERS, running, why_missing
from loadtests.results import Run
from loadtests.scenarios.paced import RATE
from loadtests.targets import Target

FORMFLOW = "FormFlow"
_CONNECTIONS = {"lone": 1, "burst-64": 64, "burst-256": 256}
RUNS = len(_CONNECTIONS) + 1


def targets_here() -> tuple[list[str], dict[str, str]]:
    """FormFlow and the peers that can run on this machine; why each of the others cannot."""
    missing = {name: why for name in PEERS if (why := why_missing(name)) is not None}
    return [FORMFLOW, *(name for name in PEERS if name not in missing)], missing


def compare(name: str, bench: Bench) -> Iterator[Run]:
    """All loads on one target. Raises RunFailed."""
    work = contact_form.URLENCODED
    with _running(name, bench) as target:
        for scenario, connections in _CONNECTIONS.items():
            yield bench.closed(scenario, target, work, connections)
        yield bench.paced(f"paced-{RATE:.0f}", target, work, RATE)


@contextmanager
def _running(name: str, bench: Bench) -> Iterator[Target]:
    if name != FORMFLOW:
        with running(name, bench.directory) as target:
            yield target
        return
    with bench.product() as product:
        yield product.target()
