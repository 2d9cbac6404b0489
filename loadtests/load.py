"""What a driver saw of one run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median


@dataclass(frozen=True)
class Load:
    """Counts, latencies in milliseconds, and what the driver itself cost.

    ``accepted`` counts every acknowledgement, ``in_time`` the answers, of either kind, until the
    run's end. ``broken`` posts got no answer, ``unsent`` ones were due while no connection was
    free. ``may_be_stored`` are posts whose fate the driver does not know. ``late_p99_ms`` says how
    late a paced driver was by its own fault.
    """

    seconds: float
    accepted: int
    refused: int
    in_time: int
    accepted_in_time: int
    p50_ms: float
    p99_ms: float
    cpu_seconds: float
    broken: int = 0
    unsent: int = 0
    may_be_stored: int = 0
    refused_p99_ms: float = 0.0
    late_p99_ms: float = 0.0
    statuses: Mapping[str, int] = field(default_factory=dict)

    @property
    def answered(self) -> int:
        """The posts that were answered, one way or the other."""
        return self.accepted + self.refused


def together(loads: Sequence[Load]) -> Load:
    """What several drivers saw at the same time: the worst p99, the middle p50."""
    return Load(
        seconds=max(load.seconds for load in loads),
        accepted=sum(load.accepted for load in loads),
        refused=sum(load.refused for load in loads),
        in_time=sum(load.in_time for load in loads),
        accepted_in_time=sum(load.accepted_in_time for load in loads),
        p50_ms=median(load.p50_ms for load in loads),
        p99_ms=max(load.p99_ms for load in loads),
        cpu_seconds=sum(load.cpu_seconds for load in loads),
        broken=sum(load.broken for load in loads),
        may_be_stored=sum(load.may_be_stored for load in loads),
    )
