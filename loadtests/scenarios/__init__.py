"""The scenarios by name: each makes one or several runs on a product of its own."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from loadtests.bench import Bench
from loadtests.results import Run
from loadtests.scenarios import (
    console,
    deliveries,
    fleets,
    generators,
    management,
    many_forms,
    memory,
    outages,
    overload,
    paced,
    startup,
    uploads,
)
from loadtests.scenarios.closed import CLOSED

BASIC = ("lone", "burst-64", "burst-256")


@dataclass(frozen=True)
class Scenario:
    """``run`` takes the scenario's name and the terms. ``repeat`` is how often it is run by
    default."""

    run: Callable[[str, Bench], Iterator[Run]]
    repeat: int = 1


SCENARIOS = {
    **{name: Scenario(closed.run) for name, closed in CLOSED.items()},
    "open": Scenario(overload.run),
    "paced-1000": Scenario(paced.run),
    "upload": Scenario(uploads.run),
    "fleet": Scenario(fleets.run),
    "forms": Scenario(many_forms.run),
    "outage": Scenario(outages.run),
    "memory": Scenario(memory.run),
    "delivery": Scenario(deliveries.run),
    "management": Scenario(management.run),
    "console": Scenario(console.run),
    "startup": Scenario(startup.run, repeat=5),
    "generator": Scenario(generators.run),
}
