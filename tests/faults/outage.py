"""The backend goes away and comes back, under an even load, behind a proxy that counts."""

import asyncio
import signal
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import orjson

from contracts import internal
from tests.faults.fleet import FaultyFleet, faulty_fleet, start_all
from tests.faults.paced import PacedVisitors, p99_ms
from tests.faults.proxy import FaultyProxy, Request, faulty_proxy
from tests.faults.verdict import read_rows
from tests.faults.wire import Answer, Connection

RATE = 200.0
# What the backend may get at most after its return, over the rate of the posts.
PEAK_RATIO_MAX = 1.2
_CALM_SECONDS = 3.0
_RETURN_SECONDS = 5.0
# Until the first batch has been given up, posts wait for it.
_NOTICE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Plan:
    """The size of a run: how the backend goes away, for how long, and the posts a second."""

    kind: Literal["kill", "hang"]
    seconds: float
    rate: float = RATE
    drain_seconds_max: float = 60.0
    commands: dict[str, list[str]] = field(default_factory=dict)


@dataclass(slots=True)
class Outcome:
    """What a run found. Times in milliseconds are 99th percentiles; ``peak_ratio`` is the largest
    number of submissions that the backend got in one of the first five seconds after its return,
    over the rate, and ``drained_ratio`` of those from the spools, over the others of that second if
    these were more; ``probes_at_once`` the most batches under way while it was away."""

    statuses_away: dict[int, int]
    calm_ms: float
    noticing_ms: float
    away_ms: float
    after_ms: float
    drain_seconds: float
    peak_ratio: float
    drained_ratio: float
    first_seconds: list[int]
    probes_at_once: int
    probes: int
    lost: list[str]
    doubled: list[str]


async def run_outage(directory: Path, plan: Plan) -> Outcome:
    """One outage of a backend behind two gateways."""
    with faulty_fleet(directory, gateways=2) as fleet:
        fleet.commands = plan.commands
        async with faulty_proxy(fleet.urls["backend"]) as proxy:
            for name in fleet.names[1:]:
                fleet.overrides[name] = {"BACKEND_URL": proxy.url}
            await asyncio.to_thread(start_all, fleet)
            visitors = PacedVisitors(fleet.gateways, plan.rate)
            load = asyncio.create_task(visitors.run())
            try:
                times = await _go_away_and_come_back(fleet, plan)
            finally:
                load.cancel()
                await asyncio.wait([load])
            return await _outcome(fleet, proxy, visitors, plan, times)


@dataclass(frozen=True, slots=True)
class _Times:
    calm: float
    left: float
    back: float
    drained: float
    over: float


async def _go_away_and_come_back(fleet: FaultyFleet, plan: Plan) -> _Times:
    loop = asyncio.get_running_loop()
    # The first second of a process is not its usual one.
    await asyncio.sleep(1.0)
    calm = loop.time()
    await asyncio.sleep(_CALM_SECONDS)
    left = loop.time()
    if plan.kind == "kill":
        fleet.kill("backend")
        await asyncio.sleep(plan.seconds)
        await asyncio.to_thread(fleet.start, "backend")
    else:
        fleet.signal("backend", signal.SIGSTOP)
        await asyncio.sleep(plan.seconds)
        fleet.signal("backend", signal.SIGCONT)
    back = loop.time()
    await asyncio.to_thread(fleet.until_drained, plan.drain_seconds_max + 30)
    drained = loop.time()
    await asyncio.sleep(max(0.0, back + _RETURN_SECONDS - drained))
    return _Times(calm, left, back, drained, loop.time())


async def _outcome(
    fleet: FaultyFleet, proxy: FaultyProxy, visitors: PacedVisitors, plan: Plan, times: _Times
) -> Outcome:
    await asyncio.to_thread(fleet.until_drained, plan.drain_seconds_max)
    stored = Counter(orjson.loads(row.payload)["n"] for row in await read_rows(fleet))
    noticed = min(times.left + _NOTICE_SECONDS, times.back)
    away = visitors.between(times.left, times.back)
    probes = [
        request
        for request in proxy.requests
        if noticed <= request.at < times.back and request.path == internal.SUBMISSIONS
    ]
    seconds = [_batches_in(proxy, times.back + n) for n in range(int(_RETURN_SECONDS))]
    first = [sum(each.items for each in second) for second in seconds]
    drained = [sum(each.promised for each in second) for second in seconds]
    ratios = [
        promised / max(items - promised, plan.rate)
        for items, promised in zip(first, drained, strict=True)
    ]
    return Outcome(
        statuses_away=dict(Counter(sample.status for sample in away)),
        calm_ms=p99_ms(visitors.between(times.calm, times.left)),
        noticing_ms=p99_ms(visitors.between(times.left, noticed)),
        away_ms=p99_ms(visitors.between(noticed, times.back)),
        after_ms=p99_ms(visitors.between(times.back, times.over)),
        drain_seconds=round(times.drained - times.back, 1),
        peak_ratio=round(max(first) / plan.rate, 2),
        drained_ratio=round(max(ratios), 2),
        first_seconds=first,
        probes_at_once=max((request.under_way for request in probes), default=0),
        probes=len(probes),
        lost=[each.marker for each in visitors.acknowledged if not stored[each.marker]],
        doubled=[marker for marker, count in stored.items() if count > 1],
    )


def _batches_in(proxy: FaultyProxy, start: float) -> list[Request]:
    """The batches of a second; other requests have no items."""
    return [each for each in proxy.requests if start <= each.at < start + 1.0]


async def visit_first_while_hanging(directory: Path, seconds: float) -> Answer:
    """What the first visitor of a form is answered who comes while the backend hangs for so long,
    beside others who post to a form that the gateway knows."""
    with faulty_fleet(directory, gateways=1) as fleet:
        await asyncio.to_thread(start_all, fleet)
        with fleet.manager() as manager:
            members = {"name": "Unvisited", "slug": "unvisited"}
            (await asyncio.to_thread(manager.post, "/v1/forms", json=members)).raise_for_status()
        # A gateway that starts anew has heard of no form.
        fleet.kill("gateway-0")
        await asyncio.to_thread(fleet.start, "gateway-0")
        visitors = PacedVisitors(fleet.gateways, RATE / 4)
        load = asyncio.create_task(visitors.run())
        newcomer = Connection(fleet.gateways[0])
        try:
            await asyncio.sleep(1.0)
            fleet.signal("backend", signal.SIGSTOP)
            # Behind the first batch that is given up, and so in the outage.
            await asyncio.sleep(seconds * 0.7)
            visit = asyncio.create_task(newcomer.post("/v1/f/unvisited", {"n": "first"}))
            await asyncio.sleep(seconds * 0.3)
            fleet.signal("backend", signal.SIGCONT)
            return await visit
        finally:
            newcomer.close()
            load.cancel()
            await asyncio.wait([load])
