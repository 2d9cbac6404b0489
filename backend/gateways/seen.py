"""Which gateways have polled the feed lately, in this process's memory: each polls every few
seconds, so that a backend that has just started knows them soon."""

from collections import OrderedDict
from dataclasses import dataclass

from contracts.internal import GatewayState
from contracts.runtime.clock import Clock

FORGOTTEN_SECONDS = 600.0
# A poll waits five seconds at most; a gateway itself calls ten without one a silence.
SILENT_SECONDS = 15.0
_MOST = 1_000


@dataclass(frozen=True, slots=True)
class SeenGateway:
    """What a gateway said last, and how many seconds ago."""

    state: GatewayState
    seconds_ago: float

    @property
    def is_silent(self) -> bool:
        """Whether it should have polled again by now."""
        return self.seconds_ago > SILENT_SECONDS


class SeenGateways:
    """Gateways by name. Those not heard of for ten minutes are forgotten."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: OrderedDict[str, tuple[GatewayState, float]] = OrderedDict()

    def note(self, state: GatewayState) -> None:
        """A gateway polls."""
        self._seen[state.name] = (state, self._clock.monotonic())
        self._seen.move_to_end(state.name)
        if len(self._seen) > _MOST:
            self._seen.popitem(last=False)

    def all(self) -> list[SeenGateway]:
        """Those there are, by name."""
        now = self._clock.monotonic()
        while self._seen and now - next(iter(self._seen.values()))[1] > FORGOTTEN_SECONDS:
            self._seen.popitem(last=False)
        return [SeenGateway(state, now - at) for _, (state, at) in sorted(self._seen.items())]
