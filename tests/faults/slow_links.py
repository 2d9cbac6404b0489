"""A link between gateways and backend that is slow and loses some of what it carries."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import orjson

from tests.faults.fleet import FaultyFleet, faulty_fleet, start_all
from tests.faults.paced import PacedVisitors, Sample
from tests.faults.proxy import faulty_proxy
from tests.faults.verdict import read_rows

_CALM_SECONDS = 1.5
_DRAIN_SECONDS = 60.0
_RECOVERY_SECONDS_MAX = 40.0
_LOOK_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Link:
    """How the link is, for how long, and the posts a second meanwhile."""

    delay_seconds: float
    drop_share: float
    seconds: float = 5.0
    rate: float = 150.0


@dataclass(slots=True)
class Outcome:
    """What a run found: statuses while the link was bad and once it was good again; what was
    neither acknowledged nor invited to come back."""

    slow: Counter[int]
    after: Counter[int]
    sent_away: list[Sample]
    lost: list[str]
    doubled: list[str]


async def run_slow_link(directory: Path, link: Link, **settings: str) -> Outcome:
    """Two gateways at a link that is good, then bad, then good again; ``settings`` are theirs."""
    with faulty_fleet(directory, gateways=2) as fleet:
        async with faulty_proxy(fleet.urls["backend"]) as proxy:
            for name in fleet.names[1:]:
                fleet.overrides[name] = {"BACKEND_URL": proxy.url} | settings
            await asyncio.to_thread(start_all, fleet)
            visitors = PacedVisitors(fleet.gateways, link.rate)
            load = asyncio.create_task(visitors.run())
            loop = asyncio.get_running_loop()
            try:
                await asyncio.sleep(_CALM_SECONDS)
                proxy.delay_seconds, proxy.drop_share = link.delay_seconds, link.drop_share
                began = loop.time()
                await asyncio.sleep(link.seconds)
                proxy.delay_seconds = proxy.drop_share = 0.0
                ended = loop.time()
                recovered = await _recovered(visitors)
                await asyncio.sleep(_CALM_SECONDS)
            finally:
                load.cancel()
                await asyncio.wait([load])
            slow = visitors.between(began, ended)
            after = visitors.between(recovered, loop.time())
            lost, doubled = await _compare(fleet, visitors)
            return Outcome(
                slow=Counter(sample.status for sample in slow),
                after=Counter(sample.status for sample in after),
                sent_away=[
                    sample
                    for sample in visitors.samples
                    if sample.submission_id is None and not sample.is_invited_back
                ],
                lost=lost,
                doubled=doubled,
            )


async def _recovered(visitors: PacedVisitors) -> float:
    """When, in the loop's time, everybody had been stored at once for some time."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _RECOVERY_SECONDS_MAX
    await asyncio.sleep(_CALM_SECONDS)
    while (now := loop.time()) < deadline:
        if {sample.status for sample in visitors.between(now - _CALM_SECONDS, now)} == {200}:
            break
        await asyncio.sleep(_LOOK_SECONDS)
    return now


async def _compare(fleet: FaultyFleet, visitors: PacedVisitors) -> tuple[list[str], list[str]]:
    """What was acknowledged and is not there, and what is there twice."""
    await asyncio.to_thread(fleet.until_drained, _DRAIN_SECONDS)
    stored = Counter(orjson.loads(row.payload)["n"] for row in await read_rows(fleet))
    lost = [each.marker for each in visitors.acknowledged if not stored[each.marker]]
    return lost, [marker for marker, count in stored.items() if count > 1]
