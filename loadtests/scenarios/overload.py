"""``open``: visitors come at their own pace, up to four times what the product can take."""

from collections.abc import Iterator

from loadtests import contact_form, generator
from loadtests.bench import Bench
from loadtests.load import Load
from loadtests.measure import Figures, Spent, check_rows, rows_of, settled_rows
from loadtests.results import Run
from loadtests.targets import Target

_CONNECTIONS = 256
_SHARES = (0.5, 1.0, 1.5, 2.0, 4.0)


def run(name: str, bench: Bench) -> Iterator[Run]:
    """The capacity in a closed loop with the same generator, then shares of it in an open one."""
    work = contact_form.URLENCODED
    with bench.product() as product:
        target = product.target()
        bench.prepare(target, work, _CONNECTIONS)
        closed = generator.drive(target, work, _CONNECTIONS, bench.seconds)
        capacity = closed.in_time / closed.seconds
        settled_rows(target, 0)
        found = {share: _at(target, capacity * share, bench.seconds) for share in _SHARES}
    peak = max(capacity, *(figures["accepted_per_second"] for figures in found.values()))
    for share, figures in found.items():
        figures["goodput_of_peak"] = figures["accepted_per_second"] / peak
        yield Run("open loop", name, target.name, figures, f"{share:.0%} of capacity")


def _at(target: Target, rate: float, seconds: float) -> Figures:
    """A run at a rate. Refusals are an answer here; what was accepted must be stored."""
    work = contact_form.URLENCODED
    stored, before = rows_of(target), Spent.so_far(target)
    # Open at the start: to open two thousand takes both sides half a second, in which the product
    # cannot do what is measured here.
    connections = generator.PACED_CONNECTIONS_MAX
    load = generator.drive_paced(target, work, rate, seconds, connections)
    spent = Spent.so_far(target).since(before, max(1, load.accepted))
    check_rows(load, work, target, stored)
    return _figures(load) | spent


def _figures(load: Load) -> Figures:
    return {
        "offered_per_second": (load.answered + load.broken + load.unsent) / load.seconds,
        "accepted_per_second": load.accepted_in_time / load.seconds,
        "p50_ms": load.p50_ms,
        "p99_ms": load.p99_ms,
        "refused": load.refused,
        "refused_p99_ms": load.refused_p99_ms,
        "broken": load.broken,
        "unsent": load.unsent,
        "late_p99_ms": load.late_p99_ms,
        "generator_us": load.cpu_seconds / max(1, load.answered) * 1e6,
    }
