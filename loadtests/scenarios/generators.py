"""``generator``: what the drivers themselves can do and cost, against a server that does nothing.

A result beyond half of these figures would be the driver's, not the product's.
"""

from collections.abc import Iterator

from loadtests import contact_form, generator, wrk
from loadtests.bench import Bench
from loadtests.canned import ACCEPTED, running_canned
from loadtests.measure import Driver, measure
from loadtests.product import DEMO_PATH
from loadtests.results import Run
from loadtests.targets import Target

_CONNECTIONS = 64
_RATES = (1_000.0, 20_000.0)


def run(name: str, bench: Bench) -> Iterator[Run]:
    """A run for each driver and rate. Raises RunFailed."""
    work, seconds = contact_form.URLENCODED, bench.seconds
    with running_canned(ACCEPTED) as server:
        target = Target("canned answers", server.origin, DEMO_PATH, {"server": (server.pid,)})
        for driver, drive in _drivers().items():
            _, figures = measure(target, work, lambda: drive(target, work, _CONNECTIONS, seconds))  # noqa: B023 -- called at once
            yield Run("generator", name, target.name, figures, f"{driver}, closed loop")
        for rate in _RATES:
            load, figures = measure(
                target,
                work,
                lambda: generator.drive_paced(target, work, rate, seconds),  # noqa: B023 -- likewise
            )
            figures["late_p99_ms"] = load.late_p99_ms
            yield Run("generator", name, target.name, figures, f"our own, {rate:,.0f}/s")


def _drivers() -> dict[str, Driver]:
    found: dict[str, Driver] = {"wrk": wrk.drive} if wrk.is_here() else {}
    return found | {"our own": generator.drive}
