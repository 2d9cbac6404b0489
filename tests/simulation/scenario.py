"""A seed's story: posts, and everything that may go wrong while they come."""

from tests.simulation.backends import Backend
from tests.simulation.gateways import Gateway
from tests.simulation.world import Variant, Weather, World, posts_of

_SECONDS = 24.0
_FORMS = ("frm_a1", "frm_a1", "frm_a2", "frm_b", "frm_u")


def run(seed: int, variant: Variant | None = None) -> World:
    """Runs a seed to its end. Raises Violation."""
    story = _Story(seed, variant or Variant())
    story.prepare()
    story.world.schedule.run(_SECONDS)
    story.world.settle()
    story.world.check_end()
    return story.world


class _Story:
    def __init__(self, seed: int, variant: Variant) -> None:
        # A table of its own size in each: some quotas are never used up, some at once.
        limit = (3, 8, 15, 25, 40)[seed % 5]
        self.world = World(
            seed, limit=limit, gateways=1 + seed % 4, backends=1 + seed % 2, variant=variant
        )
        self._random = self.world.schedule.random

    def prepare(self) -> None:
        """Puts everything on the schedule."""
        chance = self._random.random
        self.world.weather = Weather(
            loss=chance() * 0.1,
            duplication=chance() * 0.1,
            delay=chance() * 0.1,
            late=chance() * 0.3,
            late_seconds=1.0 + chance() * 7.0,
        )
        for _ in range(self._random.randint(15, 35)):
            self._posts()
        for _ in range(self._random.randint(1, 3)):
            self._outage(self._seconds(), self._random.uniform(0.5, 5.0))
        for _ in range(self._random.randint(0, 5)):
            fault = self._random.choice(
                (self._gateway_crash, self._backend_crash, self._pause, self._jump, self._stop)
            )
            fault(self._seconds())

    def _seconds(self) -> float:
        return self._random.uniform(0.5, _SECONDS)

    def _gateway(self) -> Gateway:
        return self._random.choice(self.world.gateways)

    def _backend(self) -> Backend:
        return self._random.choice(self.world.backends)

    def _posts(self) -> None:
        gateway = self._gateway()
        submissions = [
            self.world.submission(
                gateway.clock.now_ms(),
                form := self._random.choice(_FORMS),
                self._random.choice((None, None, f"{form}-{self._random.randint(1, 3)}")),
            )
            for _ in range(self._random.randint(1, 4))
        ]
        self.world.schedule.after(self._seconds(), posts_of(gateway, submissions))

    def _outage(self, at: float, seconds: float) -> None:
        def cut(is_cut: bool) -> None:
            self.world.is_cut = is_cut

        self.world.schedule.after(at, lambda: cut(True))
        self.world.schedule.after(at + seconds, lambda: cut(False))

    def _gateway_crash(self, at: float) -> None:
        gateway = self._gateway()
        self.world.schedule.after(at, gateway.crash)
        self.world.schedule.after(at + self._random.uniform(0.01, 3), lambda: _start(gateway))

    def _stop(self, at: float) -> None:
        """A gateway gives its leases back and goes, with or without an answer to that."""
        gateway = self._gateway()
        self.world.schedule.after(at, lambda: _close(gateway))
        self._end(gateway, at + self._random.uniform(0.1, 1))

    def _end(self, gateway: Gateway, at: float) -> None:
        self.world.schedule.after(at, gateway.crash)
        self.world.schedule.after(at + self._random.uniform(0.01, 3), lambda: _start(gateway))

    def _backend_crash(self, at: float) -> None:
        backend = self._backend()
        self.world.schedule.after(at, backend.crash)
        self.world.schedule.after(at + self._random.uniform(0.01, 3), backend.restart)

    def _pause(self, at: float) -> None:
        gateway, seconds = self._gateway(), self._random.uniform(1, 8)

        def pause() -> None:
            gateway.paused_until = self.world.schedule.now + seconds

        self.world.schedule.after(at, pause)

    def _jump(self, at: float) -> None:
        clock = self._random.choice((self._gateway().clock, self._backend().clock))
        seconds = self._random.choice((-3600, -60, 2, 60, 3600))
        self.world.schedule.after(at, lambda: clock.jump(seconds))


def _start(gateway: Gateway) -> None:
    if not gateway.is_up:
        gateway.start()


def _close(gateway: Gateway) -> None:
    if gateway.is_up:
        gateway.book.close()
