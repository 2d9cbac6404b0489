"""The long set: races over a fleet, outages, floods and restarts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from tests.faults import clocks, floods, outage, overload, rolling
from tests.faults.feedcut import run_feed_cut
from tests.faults.figure import MIB, Figure, Size
from tests.faults.fleet import FaultyFleet, faulty_fleet, start_all
from tests.faults.limited import add_limited_form, write_plans
from tests.faults.paced import percentile
from tests.faults.races import race_for_keys, race_for_quota, revoke
from tests.support.haproxy import why_no_haproxy

# So short that twice nothing is noise.
_AFTER_MS = 20.0


async def key_races(directory: Path, size: Size) -> Figure:
    """F7: one key at once over three gateways, and restarts."""
    async with _fleet_of_three(directory) as fleet:
        races = await race_for_keys(fleet, size.times(2000, 50), size.seed, restart_share=0.02)
    return Figure(
        "F7",
        "12 posts with one key at once, 3 gateways",
        "one submission each",
        {
            "split": len(races.split),
            "unanswered": races.unanswered,
            "stored": races.stored,
            "restarts": races.restarts,
        },
        not races.split and races.stored == races.rounds,
        f"{races.rounds} rounds",
        races.split[:5],
    )


async def quota_races(directory: Path, size: Size) -> Figure:
    """F8: 400 posts for 100 units; and a month that ends meanwhile."""
    wrong = []
    rounds = size.times(200, 1)
    for number in range(rounds):
        async with _fleet_of_three(directory / str(number), limit=100) as fleet:
            statuses = await race_for_quota(fleet, 400)
        if statuses != {200: 100, 402: 300}:
            wrong.append(f"round {number}: {dict(statuses)}")
    edges = max(1, rounds // 20) if clocks.library() else 0
    for number in range(edges):
        edge = await clocks.run_month_edge(directory / f"edge-{number}", 40)
        if complaint := edge.complaint():
            wrong.append(f"edge {number}: {complaint}")
    return Figure(
        "F8",
        "quota races; month edge with clocks ±2 s",
        "accepted = limit exactly; no month above it",
        {"wrong": len(wrong), "races": rounds, "month edges": edges},
        not wrong,
        f"{rounds} races, {edges} edges",
        wrong,
    )


async def revocations(directory: Path, size: Size) -> Figure:
    """F9: a key is revoked while every gateway is posted to with it."""
    async with _fleet_of_three(directory) as fleet:
        found = await revoke(fleet, size.times(200, 20), 1.5)
    return Figure(
        "F9",
        "revocations, 3 gateways",
        "p99 < 1 s at the gateways, none stored after the acknowledgement",
        {
            "accepted later": found.accepted_later,
            "p99, s": round(percentile(found.seconds, 0.99), 3),
            "refused": found.refused,
        },
        found.accepted_later == 0 and found.refused > 0,
        f"{len(found.seconds) // 3} trials",
    )


async def feed_cut(directory: Path, _: Size) -> Figure:
    """F9: a revocation behind a feed that is cut."""
    found = await run_feed_cut(directory)
    later, seconds = found.revocations.accepted_later, found.unready_seconds
    return Figure(
        "F9",
        "the feed of a gateway is cut, and a key revoked",
        "unready within 10 s of silence (a poll takes 5 s); none stored after the acknowledgement",
        {"accepted later": later, "unready after, s": seconds},
        later == 0 and seconds is not None and seconds < 16,
        "1 cut",
    )


async def _outage(directory: Path, size: Size, kind: Literal["kill", "hang"]) -> Figure:
    seconds = size.long(600.0, 20.0)
    found = await outage.run_outage(directory, outage.Plan(kind, seconds))
    is_live = found.after_ms < max(2 * found.calm_ms, _AFTER_MS)
    is_fast = found.away_ms < 50 and found.drain_seconds < 60 and is_live
    is_gentle = found.peak_ratio <= outage.PEAK_RATIO_MAX and found.probes_at_once <= 2
    return Figure(
        "F10",
        f"the backend is away ({kind}) at 200 posts/s",
        "0 lost, p99 < 50 ms, drained < 60 s, live p99 < 2× (or 20 ms), backend ≤ 1.2×",
        {
            "away": found.statuses_away,
            "lost": len(found.lost),
            "doubled": len(found.doubled),
            "p99 calm, noticing, away, after, ms": [
                found.calm_ms,
                found.noticing_ms,
                found.away_ms,
                found.after_ms,
            ],
            "drained, s": found.drain_seconds,
            "peak": found.peak_ratio,
            "probes": found.probes,
        },
        not found.lost and not found.doubled,
        f"{seconds} s",
        is_fast=is_fast and is_gentle,
    )


async def outage_by_kill(directory: Path, size: Size) -> Figure:
    """F10: the backend is killed."""
    return await _outage(directory, size, "kill")


async def outage_by_hang(directory: Path, size: Size) -> Figure:
    """F10: the backend hangs."""
    return await _outage(directory, size, "hang")


async def overload_of_backend(directory: Path, size: Size) -> Figure:
    """F11: twice as many come as a backend takes, also one too slow for two full batches."""
    seconds, runs = size.long(20.0, 8.0), []
    for number, (capacity, spool) in enumerate(((400.0, "on"), (400.0, "off"), (100.0, "off"))):
        place = directory / str(number)
        place.mkdir()
        plan = overload.Plan(capacity, seconds=seconds, spool=spool)
        runs.append(await overload.run_overload(place, plan))
    return Figure(
        "F11",
        "overload 2×, of a backend of 400/s with the spool, without it, and of one of 100/s",
        "goodput ≥ 90 %; accepted p99 < 250 ms; refusals p99 < 20 ms, each invited back",
        {
            "goodput": [round(run.goodput, 2) for run in runs],
            "after, s": [round(run.after_seconds, 1) for run in runs],
            "accepted p99, ms": [round(run.accepted_p99_seconds * 1000) for run in runs],
            "refused p99, ms": [round(run.refused_p99_seconds * 1000) for run in runs],
            "sent away": [len(run.sent_away) for run in runs],
            "grown, MiB": [round(run.grown_bytes / MIB, 1) for run in runs],
        },
        not any(run.lost or run.doubled or run.sent_away for run in runs),
        f"{seconds} s each",
        is_fast=all(
            run.goodput >= 0.9
            and run.accepted_p99_seconds < 0.25
            and run.refused_p99_seconds < 0.02
            for run in runs
        ),
    )


async def address_flood(directory: Path, size: Size) -> Figure:
    """F13: visitors nobody has seen before."""
    count = size.times(1_000_000, 100_000)
    return _flood("addresses", count, await floods.run_addresses(directory, count))


async def slug_flood(directory: Path, size: Size) -> Figure:
    """F13: slugs nobody has seen before."""
    count = size.times(50_000, 20_000)
    return _flood("slugs", count, await floods.run_slugs(directory, count))


async def key_flood(directory: Path, size: Size) -> Figure:
    """L13: idempotency keys nobody has seen before, on posts that are refused."""
    count = size.times(100_000, 20_000)
    return _flood("idempotency keys", count, await floods.run_idempotency_keys(directory, count))


def _flood(kind: str, count: int, found: floods.Flood) -> Figure:
    return Figure(
        "F13",
        f"unique {kind}, then as many again",
        "memory bounded; the honest visitor p99 < 250 ms, all stored",
        {
            "grown, MiB": round(found.grown / MIB, 1),
            "grown again, MiB": round(found.grown_again / MIB, 1),
            "bytes each": round(found.grown / count),
            "honest p99, ms": found.honest_p99_ms,
            "honest not stored": found.honest_not_stored,
            "per second": found.per_second,
            "in tables": {name: found.gauges[name] for name in floods.TABLES},
            "keys bound": found.keys_bound,
        },
        found.grown < 256 * MIB and not found.honest_not_stored and not found.keys_bound,
        f"2 × {count}",
        is_fast=found.honest_p99_ms < 250,
    )


async def rolling_restarts(directory: Path, size: Size) -> Figure:
    """F15: SIGTERM, one after the other."""
    count = size.times(50, 1)
    has_haproxy = why_no_haproxy() is None
    found = await rolling.run_rolls(directory, count, behind_haproxy=has_haproxy)
    is_quiet = set(found.statuses) <= {200, 202} and not found.lost
    return Figure(
        "F15",
        f"rolling restarts of 2 gateways behind {'HAProxy' if has_haproxy else 'our own balancer'}",
        "0 failed posts; exit 0 in < 30 s",
        {
            "statuses": dict(found.statuses),
            "exits": dict(found.exits),
            "slowest end, s": found.slowest_end,
        },
        is_quiet and set(found.exits) == {0},
        f"{count} rolls",
    )


@asynccontextmanager
async def _fleet_of_three(directory: Path, limit: int = 100) -> AsyncIterator[FaultyFleet]:
    directory.mkdir(parents=True, exist_ok=True)
    plans = str(write_plans(directory, limit))
    with faulty_fleet(directory, gateways=3, PLANS_FILE=plans) as fleet:
        await asyncio.to_thread(start_all, fleet)
        await add_limited_form(fleet)
        yield fleet
