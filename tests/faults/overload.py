"""More visitors than the backend can take: it goes on at its pace, and the others are told so."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from tests.faults.fleet import faulty_fleet, start_all
from tests.faults.paced import PacedVisitors, Sample, percentile
from tests.faults.proxy import faulty_proxy
from tests.faults.verdict import read_rows
from tests.support.fleet import resident_bytes

_DRAIN_SECONDS = 90.0
_LOOK_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Plan:
    """How many submissions a second the backend takes, and how many times as many come, until of
    the last ``seconds`` enough were acknowledged, or ``seconds_max`` are over."""

    capacity: float
    times: float = 2.0
    seconds: float = 8.0
    seconds_max: float = 80.0
    goodput: float = 0.9
    spool: str = "off"
    commands: dict[str, list[str]] = field(default_factory=dict)


@dataclass(slots=True)
class Outcome:
    """What a run found. ``goodput`` is what was acknowledged in its last seconds, as a share of
    the capacity, ``after_seconds`` when they were over; ``sent_away`` is what was neither
    acknowledged nor invited to come back, ``grown_bytes`` how much more memory the gateway held in
    the end."""

    statuses: Counter[int]
    goodput: float
    after_seconds: float
    accepted_p99_seconds: float
    refused_p99_seconds: float
    sent_away: list[Sample]
    grown_bytes: int
    lost: list[str]
    doubled: list[str]


async def run_overload(directory: Path, plan: Plan) -> Outcome:
    """One gateway in front of a backend that takes no more than so much."""
    with faulty_fleet(directory, gateways=1) as fleet:
        fleet.commands = plan.commands
        async with faulty_proxy(fleet.urls["backend"]) as proxy:
            fleet.overrides["gateway-0"] = {"BACKEND_URL": proxy.url, "SPOOL": plan.spool}
            await asyncio.to_thread(start_all, fleet)
            proxy.submissions_per_second = plan.capacity
            pid = fleet.pid("gateway-0")
            before = resident_bytes(pid)
            visitors = PacedVisitors(fleet.gateways, plan.capacity * plan.times)
            loop = asyncio.get_running_loop()
            load = asyncio.create_task(visitors.run())
            started = loop.time()
            await asyncio.sleep(plan.seconds)
            while (
                goodput := _goodput(visitors, plan, ended := loop.time())
            ) < plan.goodput and ended < started + plan.seconds_max:
                await asyncio.sleep(_LOOK_SECONDS)
            grown = resident_bytes(pid) - before
            load.cancel()
            await asyncio.wait([load])
            proxy.submissions_per_second = float("inf")
            await asyncio.to_thread(fleet.until_drained, _DRAIN_SECONDS)
            stored = Counter(orjson.loads(row.payload)["n"] for row in await read_rows(fleet))
    answered = _answered(visitors, ended - plan.seconds, ended)
    accepted = [s for s in answered if s.submission_id is not None]
    refused = [s.seconds for s in answered if s.submission_id is None]
    return Outcome(
        statuses=Counter(sample.status for sample in answered),
        goodput=goodput,
        after_seconds=ended - started,
        accepted_p99_seconds=percentile([s.seconds for s in accepted], 0.99),
        refused_p99_seconds=percentile(refused, 0.99),
        sent_away=[
            s for s in visitors.samples if s.submission_id is None and not s.is_invited_back
        ],
        grown_bytes=grown,
        lost=[s.marker for s in visitors.acknowledged if not stored[s.marker]],
        doubled=[marker for marker, count in stored.items() if count > 1],
    )


def _goodput(visitors: PacedVisitors, plan: Plan, ended: float) -> float:
    """What was acknowledged in the seconds before, as a share of what the backend takes."""
    answered = _answered(visitors, ended - plan.seconds, ended)
    accepted = sum(sample.submission_id is not None for sample in answered)
    return accepted / (plan.capacity * plan.seconds)


def _answered(visitors: PacedVisitors, began: float, ended: float) -> list[Sample]:
    return [s for s in visitors.samples if began <= s.at + s.seconds < ended]
