"""Processes are told to stop and started again, one by one, under load: nobody notices."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from tests.faults.fleet import FaultyFleet, faulty_fleet, start_all
from tests.faults.paced import PacedVisitors, p99_ms
from tests.faults.verdict import read_rows
from tests.support.haproxy import Haproxy
from tests.support.processes import until

_POLL_SECONDS = 0.1
_END_SECONDS = 30.0

Settle = Callable[[str], Awaitable[None]]


@dataclass(slots=True)
class Rolls:
    """What a run found: the statuses of the posts, exit statuses and how long the ends took."""

    statuses: Counter[int]
    exits: Counter[int | None]
    slowest_end: float
    p99_ms: float
    lost: list[str]


async def run_rolls(
    directory: Path,
    rolls: int,
    rate: float = 100.0,
    commands: dict[str, list[str]] | None = None,
    *,
    behind_haproxy: bool = False,
) -> Rolls:
    """Restarts two gateways by turns, behind HAProxy, or behind visitors who go where ``/readyz``
    says ready, as a balancer does that polls every tenth of a second."""
    with faulty_fleet(directory, gateways=2, DRAIN_SECONDS="1") as fleet:
        fleet.commands = commands or {}
        await asyncio.to_thread(start_all, fleet)
        visitors = PacedVisitors(list(fleet.gateways), rate)
        exits, ends = Counter[int | None](), [0.0]
        balanced = _behind_haproxy if behind_haproxy else by_readiness
        async with balanced(fleet, visitors) as settle:
            load = asyncio.create_task(visitors.run())
            try:
                for number in range(rolls):
                    name = f"gateway-{number % 2}"
                    status, seconds = await roll(fleet, name)
                    exits[status] += 1
                    ends.append(seconds)
                    await settle(name)
            finally:
                load.cancel()
                await asyncio.wait([load])
        await asyncio.to_thread(fleet.until_drained, 30.0)
        stored = {orjson.loads(row.payload)["n"] for row in await read_rows(fleet)}
        lost = [each.marker for each in visitors.acknowledged if each.marker not in stored]
        statuses = Counter(sample.status for sample in visitors.samples)
        return Rolls(statuses, exits, round(max(ends), 2), p99_ms(visitors.samples), lost)


async def roll(fleet: FaultyFleet, name: str) -> tuple[int | None, float]:
    """SIGTERM, the end, and a new start; exit status and seconds to the end."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    fleet.signal(name, signal.SIGTERM)
    status = await asyncio.to_thread(fleet.wait_for_end, name, _END_SECONDS)
    seconds = loop.time() - started
    if status is None:
        fleet.kill(name)
    await asyncio.to_thread(fleet.start, name)
    return status, seconds


@asynccontextmanager
async def _behind_haproxy(fleet: FaultyFleet, visitors: PacedVisitors) -> AsyncIterator[Settle]:
    """Yields what waits until a gateway that has come back gets posts."""
    with Haproxy(fleet).running() as proxy:
        visitors.urls = [proxy.url]
        yield lambda name: asyncio.to_thread(until, lambda: proxy.is_up(name))


@asynccontextmanager
async def by_readiness(fleet: FaultyFleet, visitors: PacedVisitors) -> AsyncIterator[Settle]:
    """Sends visitors where ``/readyz`` says ready; yields as ``_behind_haproxy``."""
    balancer = asyncio.create_task(_balance(fleet, visitors))

    async def settle(name: str) -> None:
        while fleet.urls[name] not in visitors.urls:
            await asyncio.sleep(_POLL_SECONDS)

    try:
        yield settle
    finally:
        balancer.cancel()
        await asyncio.wait([balancer])


async def _balance(fleet: FaultyFleet, visitors: PacedVisitors) -> None:
    names = [name for name in fleet.names if name.startswith("gateway")]
    while True:
        await asyncio.sleep(_POLL_SECONDS)
        answers = await asyncio.gather(
            *(asyncio.to_thread(fleet.get, name, "/readyz") for name in names)
        )
        pairs = zip(names, answers, strict=True)
        ready = [fleet.urls[name] for name, (status, _) in pairs if status == 200]
        visitors.urls = ready or visitors.urls
