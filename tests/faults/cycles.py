"""Ledger cycles: processes are killed, ended and paused at any instant, and every promise is kept.

Two gateways and a backend as real processes, maybe on a PostgreSQL server of their own, visitors
with a ledger, and in each cycle a fault of one or two processes. In the end everything runs, the
spools are empty, and the ledger is held against the database.
"""

import asyncio
import random
import signal
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.fleet import FaultyFleet, faulty_fleet, in_thread_until_ready, start_all
from tests.faults.ledger import Crowd, Ledger, stop
from tests.faults.limited import SLUG, add_limited_form, write_plans
from tests.faults.postgres import PostgresqlServer
from tests.faults.verdict import Verdict, judge
from tests.support.processes import until

DRAIN_SECONDS = 60.0
PROCESSES = ("backend", "gateway-0", "gateway-1")
POSTGRESQL = "postgresql"
# From SIGTERM to the end, however much is under way.
_END_SECONDS = 30.0
_POSTS_PER_CYCLE = 15
# What the backend logs when it answers 500.
_FAILURES = ("batch failed", "unexpected error")


@dataclass(frozen=True, slots=True)
class Plan:
    """The size of a run. ``kill_share`` of the faults end a process, ``polite_share`` of these by
    SIGTERM and the others by SIGKILL; of those that pause it, ``long_share`` take more than three
    seconds. The ``server``, if the database is on one, is a target as ``POSTGRESQL``; it only ever
    ends at once."""

    cycles: int
    seed: int
    pause_seconds_max: float = 30.0
    kill_share: float = 0.6
    polite_share: float = 0.3
    long_share: float = 0.25
    targets: tuple[str, ...] = PROCESSES
    server: PostgresqlServer | None = None
    commands: dict[str, list[str]] = field(default_factory=dict)


@dataclass(slots=True)
class Outcome:
    """What a run found; ``ready_seconds`` are those from a start to readiness, one a restart.
    ``complaints`` are the ends by SIGTERM that were none, or not with status 0, and the failures in
    the backend's log."""

    verdict: Verdict
    ledger: Ledger
    ready_seconds: list[float]
    faults: list[str]
    complaints: list[str]

    @property
    def is_clean(self) -> bool:
        """Whether every promise was kept."""
        return self.verdict.is_clean and not self.complaints


async def run_cycles(directory: Path, plan: Plan) -> Outcome:
    """Carries a plan out."""
    directory.mkdir(parents=True, exist_ok=True)
    # Used up after about two thirds of the cycles.
    limit = max(15, plan.cycles * _POSTS_PER_CYCLE // 3)
    settings = {"PLANS_FILE": str(write_plans(directory, limit))}
    if plan.server is not None:
        settings["DATABASE_URL"] = plan.server.url
    with faulty_fleet(directory, gateways=2, **settings) as fleet:
        fleet.commands = dict(plan.commands)
        await asyncio.to_thread(start_all, fleet)
        await add_limited_form(fleet)
        return await _torment(fleet, plan)


async def _torment(fleet: FaultyFleet, plan: Plan) -> Outcome:
    ledger = Ledger()
    chaos = Chaos(fleet, plan)
    visitors = Crowd(fleet.gateways, ("demo", "demo", SLUG)).start(ledger, str(plan.seed))
    try:
        for _ in range(plan.cycles):
            await chaos.cycle()
    finally:
        await stop(visitors)
    await asyncio.to_thread(fleet.restart_all)
    await asyncio.to_thread(fleet.until_drained, DRAIN_SECONDS)
    complaints = chaos.wrong_ends + _failures(fleet.log("backend"))
    verdict = await judge(fleet, ledger)
    return Outcome(verdict, ledger, chaos.ready_seconds, chaos.faults, complaints)


@dataclass(slots=True)
class Farewell:
    """A gateway's end by SIGTERM: its exit status, None if it did not end; and how much was in its
    spool when it had ended."""

    verdict: Verdict
    status: int | None
    spooled: int


async def run_farewell(directory: Path) -> Farewell:
    """A gateway is asked to end, under load, while its spool cannot be drained; all start again."""
    with faulty_fleet(directory, gateways=1) as fleet:
        await asyncio.to_thread(start_all, fleet)
        ledger = Ledger()
        visitors = Crowd(fleet.gateways).start(ledger, "farewell")
        # What it has not heard of, a gateway does not spool.
        while not ledger.acknowledged:
            await asyncio.sleep(0.01)
        fleet.kill("backend")
        await asyncio.to_thread(until, lambda: fleet.spooled() > 0)
        fleet.signal("gateway-0", signal.SIGTERM)
        status = await asyncio.to_thread(fleet.wait_for_end, "gateway-0", _END_SECONDS)
        await stop(visitors)
        spooled = fleet.spooled()
        await asyncio.to_thread(fleet.restart_all)
        await asyncio.to_thread(fleet.until_drained, DRAIN_SECONDS)
        return Farewell(await judge(fleet, ledger), status, spooled)


def _failures(log: str) -> list[str]:
    return [line for line in log.splitlines() if any(failure in line for failure in _FAILURES)]


class Chaos:
    """Faults by chance, from a seed."""

    def __init__(self, fleet: FaultyFleet, plan: Plan) -> None:
        self.ready_seconds: list[float] = []
        self.faults: list[str] = []
        self.wrong_ends: list[str] = []
        self._fleet = fleet
        self._plan = plan
        self._chance = random.Random(plan.seed)
        # A backend does not start without its database.
        self._has_database = asyncio.Event()
        self._has_database.set()

    async def cycle(self) -> None:
        """Some load, then a fault of one process, or of two at once; then all run again."""
        await asyncio.sleep(self._chance.uniform(0.05, 0.6))
        count = 2 if self._chance.random() < 0.25 else 1
        targets = self._chance.sample(self._plan.targets, min(count, len(self._plan.targets)))
        faults = [self._fault(name, is_alone=count == 1) for name in targets]
        await asyncio.gather(*faults)

    def _fault(self, name: str, *, is_alone: bool) -> Coroutine[Any, Any, None]:
        if name == POSTGRESQL or self._chance.random() < self._plan.kill_share:
            away = self._chance.choice((0.0, self._chance.uniform(0.0, 1.0)))
            if name == POSTGRESQL:
                self.faults.append(f"kill {name}, {away:.2f} s")
                return self._kill_server(away)
            is_polite = self._chance.random() < self._plan.polite_share
            self.faults.append(f"{'end' if is_polite else 'kill'} {name}, {away:.2f} s")
            return self._kill(name, away, is_polite=is_polite, is_alone=is_alone)
        is_long = self._chance.random() < self._plan.long_share
        bounds = (3.0, self._plan.pause_seconds_max) if is_long else (0.2, 3.0)
        seconds = min(self._chance.uniform(*bounds), self._plan.pause_seconds_max)
        self.faults.append(f"pause {name}, {seconds:.2f} s")
        return self._pause(name, seconds)

    async def _kill(self, name: str, away: float, *, is_polite: bool, is_alone: bool) -> None:
        if is_polite:
            await self._end(name)
        else:
            self._fleet.kill(name)
        await asyncio.sleep(away)
        await self._has_database.wait()
        seconds = await in_thread_until_ready(self._fleet, name)
        if is_alone:
            self.ready_seconds.append(seconds)

    async def _end(self, name: str) -> None:
        self._fleet.signal(name, signal.SIGTERM)
        status = await asyncio.to_thread(self._fleet.wait_for_end, name, _END_SECONDS)
        if status is None:
            self._fleet.kill(name)
        if status != 0:
            end = "did not end" if status is None else f"ended with {status}"
            self.wrong_ends.append(f"{self.faults[-1]}: {name} {end}")

    async def _kill_server(self, away: float) -> None:
        server = self._plan.server
        if server is None:
            raise ValueError(f"{POSTGRESQL} is a target of runs that have a server")
        self._has_database.clear()
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(away)
        await asyncio.to_thread(server.start)
        self._has_database.set()

    async def _pause(self, name: str, seconds: float) -> None:
        self._fleet.signal(name, signal.SIGSTOP)
        await asyncio.sleep(seconds)
        self._fleet.signal(name, signal.SIGCONT)
