"""Ledger cycles: processes are killed and paused at any instant, and every promise is kept.

Two gateways and a backend as real processes, visitors with a ledger, and in each cycle a fault of
one or two processes. In the end everything runs, the spools are empty, and the ledger is held
against the database.
"""

import asyncio
import random
import signal
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.fleet import FaultyFleet, faulty_fleet, in_thread_until_ready, start_all
from tests.faults.ledger import Crowd, Ledger, stop
from tests.faults.limited import SLUG, add_limited_form, write_plans
from tests.faults.verdict import Verdict, judge

DRAIN_SECONDS = 60.0
_POSTS_PER_CYCLE = 15


@dataclass(frozen=True, slots=True)
class Plan:
    """The size of a run. ``kill_share`` of the faults kill; of the others, which pause,
    ``long_share`` take more than three seconds."""

    cycles: int
    seed: int
    pause_seconds_max: float = 30.0
    kill_share: float = 0.6
    long_share: float = 0.25
    targets: tuple[str, ...] = ("backend", "gateway-0", "gateway-1")
    database_url: str | None = None
    commands: dict[str, list[str]] = field(default_factory=dict)


@dataclass(slots=True)
class Outcome:
    """What a run found; ``ready_seconds`` are those from a start to readiness, one a restart."""

    verdict: Verdict
    ledger: Ledger
    ready_seconds: list[float]
    faults: list[str]


async def run_cycles(directory: Path, plan: Plan) -> Outcome:
    """Carries a plan out."""
    directory.mkdir(parents=True, exist_ok=True)
    # Used up after about two thirds of the cycles.
    limit = max(15, plan.cycles * _POSTS_PER_CYCLE // 3)
    settings = {"PLANS_FILE": str(write_plans(directory, limit))}
    if plan.database_url is not None:
        settings["DATABASE_URL"] = plan.database_url
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
    return Outcome(await judge(fleet, ledger), ledger, chaos.ready_seconds, chaos.faults)


class Chaos:
    """Faults by chance, from a seed."""

    def __init__(self, fleet: FaultyFleet, plan: Plan) -> None:
        self.ready_seconds: list[float] = []
        self.faults: list[str] = []
        self._fleet = fleet
        self._plan = plan
        self._chance = random.Random(plan.seed)

    async def cycle(self) -> None:
        """Some load, then a fault of one process, or of two at once; then all run again."""
        await asyncio.sleep(self._chance.uniform(0.05, 0.6))
        count = 2 if self._chance.random() < 0.25 else 1
        targets = self._chance.sample(self._plan.targets, min(count, len(self._plan.targets)))
        faults = [self._fault(name, is_alone=count == 1) for name in targets]
        await asyncio.gather(*faults)

    def _fault(self, name: str, *, is_alone: bool) -> "asyncio.Task[None]":
        if self._chance.random() < self._plan.kill_share:
            away = self._chance.choice((0.0, self._chance.uniform(0.0, 1.0)))
            self.faults.append(f"kill {name}, {away:.2f} s")
            return asyncio.create_task(self._kill(name, away, is_alone=is_alone))
        is_long = self._chance.random() < self._plan.long_share
        bounds = (3.0, self._plan.pause_seconds_max) if is_long else (0.2, 3.0)
        seconds = min(self._chance.uniform(*bounds), self._plan.pause_seconds_max)
        self.faults.append(f"pause {name}, {seconds:.2f} s")
        return asyncio.create_task(self._pause(name, seconds))

    async def _kill(self, name: str, away: float, *, is_alone: bool) -> None:
        self._fleet.kill(name)
        await asyncio.sleep(away)
        seconds = await in_thread_until_ready(self._fleet, name)
        if is_alone:
            self.ready_seconds.append(seconds)

    async def _pause(self, name: str, seconds: float) -> None:
        self._fleet.signal(name, signal.SIGSTOP)
        await asyncio.sleep(seconds)
        self._fleet.signal(name, signal.SIGCONT)
