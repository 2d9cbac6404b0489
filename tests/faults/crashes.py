"""A process dies once at a point that was chosen for it, under load, and starts again."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from backend.tables import deliveries
from tests.faults.crash_points import EXIT_STATUS, CrashPoint
from tests.faults.cycles import DRAIN_SECONDS
from tests.faults.deliveries import SETTINGS, add_webhook, until_told
from tests.faults.fleet import FaultyFleet, faulty_fleet, start_all
from tests.faults.ledger import Crowd, Ledger, stop
from tests.faults.spoilt import command
from tests.faults.targets import Targets, targets
from tests.faults.verdict import Verdict, judge, read

_LOAD_SECONDS = 0.5
_CRASH_SECONDS_MAX = 20.0
_TOLD_SECONDS = 30.0


@dataclass(slots=True)
class Outcome:
    """What a run found: the verdict; of the acknowledged posts those that no target was told of,
    those that went out under more than one id, and the deliveries that were interrupted and did not
    come again under theirs. ``attempts`` are all that the target saw, of ``delivered`` posts."""

    verdict: Verdict
    untold: list[str]
    split: list[str]
    vanished: list[str]
    attempts: int
    delivered: int


async def run_crash(
    directory: Path, point: CrashPoint, commands: dict[str, list[str]] | None = None
) -> Outcome:
    """Lets a process die at that point while visitors post, to a form with a webhook, through two
    gateways; ``commands`` are what runs the other processes, and this one behind its crash."""
    with faulty_fleet(directory, gateways=2, **SETTINGS) as fleet:
        fleet.commands = dict(commands or {})
        async with targets() as server:
            await asyncio.to_thread(start_all, fleet)
            await asyncio.to_thread(add_webhook, fleet, f"{server.url}/good")
            ledger = Ledger()
            # Fewer than the backend delivers: nobody is to wait for the end of a backlog.
            crowd = Crowd(fleet.gateways, visitors=4, pause_seconds=0.08)
            visitors = crowd.start(ledger, point.name)
            try:
                interrupted = await _crash(fleet, point)
                await asyncio.to_thread(fleet.restart_all)
                await asyncio.sleep(_LOAD_SECONDS)
            finally:
                await stop(visitors)
            await asyncio.to_thread(fleet.until_drained, DRAIN_SECONDS)
            markers = {entry.marker for entry in ledger.acknowledged}
            await until_told(server, markers, _TOLD_SECONDS)
            return _outcome(await judge(fleet, ledger), markers, interrupted, server)


async def _crash(fleet: FaultyFleet, point: CrashPoint) -> set[str]:
    """Returns when the process has died there; the deliveries that were claimed then."""
    usual = fleet.commands.get(point.service)
    await asyncio.sleep(_LOAD_SECONDS)
    fleet.kill(point.service)
    fleet.commands[point.service] = command(f"crash-at-{point.name}")
    if point.service == "backend":
        # Some of the posts wait in the spools meanwhile.
        await asyncio.sleep(_LOAD_SECONDS)
        fleet.spawn("backend")
    else:
        await asyncio.to_thread(fleet.start, point.service)
        await asyncio.sleep(_LOAD_SECONDS)
        fleet.kill("backend")
        await asyncio.sleep(_LOAD_SECONDS)
        fleet.spawn("backend")
    status = await asyncio.to_thread(fleet.wait_for_end, point.service, _CRASH_SECONDS_MAX)
    assert status == EXIT_STATUS, f"{point.name}: {status}: {fleet.log(point.service)[-2000:]}"
    del fleet.commands[point.service]
    if usual is not None:
        fleet.commands[point.service] = usual
    claimed = select(deliveries.c.id).where(deliveries.c.claim.is_not(None))
    return {row.id for row in await read(fleet, claimed)} if point.service == "backend" else set()


def _outcome(
    verdict: Verdict, markers: set[str], interrupted: set[str], server: Targets
) -> Outcome:
    ids: dict[str, set[str]] = defaultdict(set)
    for received in server.received:
        ids[received.marker].add(received.delivery_id)
    told = {received.delivery_id for received in server.received if received.is_acknowledged}
    return Outcome(
        verdict,
        untold=sorted(markers - ids.keys()),
        split=sorted(marker for marker, found in ids.items() if len(found) > 1),
        vanished=sorted(interrupted - told),
        attempts=len(server.received),
        delivered=len(ids),
    )
