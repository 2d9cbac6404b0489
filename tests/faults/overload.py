"""More visitors than the backend can take: it goes on at its pace, and the others are told so."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import orjson

from tests.faults.fleet import faulty_fleet, start_all
from tests.faults.paced import PacedVisitors, Sample, percentile
from tests.faults.proxy import faulty_proxy
from tests.faults.verdict import read_rows
from tests.support.fleet import resident_bytes

_DRAIN_SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How many submissions a second the backend takes, how many times as many come, and how long:
    before anything is counted, and then."""

    capacity: float
    times: float = 2.0
    warm_seconds: float = 1.0
    seconds: float = 10.0


@dataclass(slots=True)
class Outcome:
    """What a run found. ``goodput`` is what was acknowledged, as a share of the capacity;
    ``sent_away`` is what was neither acknowledged nor invited to come back, ``grown_bytes`` how
    much more memory the gateway held in the end."""

    statuses: Counter[int]
    goodput: float
    accepted_p99_seconds: float
    refused_p99_seconds: float
    sent_away: list[Sample]
    grown_bytes: int
    lost: list[str]
    doubled: list[str]


async def run_overload(directory: Path, plan: Plan, **settings: str) -> Outcome:
    """One gateway in front of a backend that takes no more than so much; ``settings`` are the
    gateway's."""
    with faulty_fleet(directory, gateways=1) as fleet:
        async with faulty_proxy(fleet.urls["backend"]) as proxy:
            fleet.overrides["gateway-0"] = {"BACKEND_URL": proxy.url} | settings
            await asyncio.to_thread(start_all, fleet)
            proxy.submissions_per_second = plan.capacity
            pid = fleet.pid("gateway-0")
            before = resident_bytes(pid)
            visitors = PacedVisitors(fleet.gateways, plan.capacity * plan.times)
            loop = asyncio.get_running_loop()
            load = asyncio.create_task(visitors.run())
            await asyncio.sleep(plan.warm_seconds)
            began = loop.time()
            await asyncio.sleep(plan.seconds)
            ended = loop.time()
            grown = resident_bytes(pid) - before
            load.cancel()
            await asyncio.wait([load])
            proxy.submissions_per_second = float("inf")
            await asyncio.to_thread(fleet.until_drained, _DRAIN_SECONDS)
            stored = Counter(orjson.loads(row.payload)["n"] for row in await read_rows(fleet))
    answered = [s for s in visitors.samples if began <= s.at + s.seconds < ended]
    accepted = [s for s in answered if s.submission_id is not None]
    refused = [s.seconds for s in answered if s.submission_id is None]
    return Outcome(
        statuses=Counter(sample.status for sample in answered),
        goodput=len(accepted) / (plan.capacity * (ended - began)),
        accepted_p99_seconds=percentile([s.seconds for s in accepted], 0.99),
        refused_p99_seconds=percentile(refused, 0.99),
        sent_away=[
            s for s in visitors.samples if s.submission_id is None and not s.is_invited_back
        ],
        grown_bytes=grown,
        lost=[s.marker for s in visitors.acknowledged if not stored[s.marker]],
        doubled=[marker for marker, count in stored.items() if count > 1],
    )
