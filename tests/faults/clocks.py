"""Wall clocks that jump, under load: libfaketime in the processes, monotonic clocks left alone."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import orjson
from sqlalchemy import select

from backend.tables import usage_months
from contracts.runtime.clock import SystemClock
from tests.faults.fleet import FaultyFleet, faulty_fleet, start_all
from tests.faults.limited import add_limited_form, write_plans
from tests.faults.paced import PacedVisitors
from tests.faults.races import race_for_quota
from tests.faults.verdict import read, read_rows
from tests.faults.wire import Connection

_LIBRARIES = (
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib64/faketime/libfaketime.so.1",
    "/usr/lib/faketime/libfaketime.so.1",
)
_RATE = 40.0
# A form that a visitor may post to once in a minute.
_ONCE = "once"
# New York's, which needs no database of time zones.
_HOST_ZONE = {"TZ": "EST5EDT,M3.2.0,M11.1.0"}
_HOUR = 3600.0
_DAY = 24 * _HOUR
JUMPS = (_HOUR, -_HOUR, _DAY, -_DAY)
# A key is bound for a day, to the millisecond: a whole one later it is free.
RECOGNISED = {1.0: True, -1.0: True, 24.0: False, -24.0: True}


def library() -> str | None:
    """Where libfaketime is, if it is installed (Debian: faketime)."""
    return next((path for path in _LIBRARIES if Path(path).exists()), None)


class WallClock:
    """The wall clock of some processes: the real one, and an offset that may jump."""

    def __init__(self, directory: Path, fleet: FaultyFleet, names: list[str]) -> None:
        """For processes that start from now on."""
        directory.mkdir(exist_ok=True)
        self._file = directory / f"clock-{uuid4().hex}"
        self.jump_to(0.0)
        for name in names:
            fleet.environments[name] = {
                "LD_PRELOAD": library() or "",
                "FAKETIME_TIMESTAMP_FILE": str(self._file),
                "FAKETIME_NO_CACHE": "1",
                "DONT_FAKE_MONOTONIC": "1",
            }

    def jump_to(self, offset_seconds: float) -> None:
        """Sets the difference to the real clock."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{offset_seconds:+f}\n")
        new.rename(self._file)


@dataclass(slots=True)
class Jumps:
    """What a run found: statuses of the posts, those acknowledged and lost; whether a key was
    recognised after each jump (hours to it); the jumps that let a visitor in who had no post left
    in this minute; the count of each month, and what the submissions were charged."""

    statuses: Counter[int]
    lost: list[str]
    recognised: dict[float, bool]
    reopened: list[float]
    months: dict[str, int]
    charged: int
    slowest: float


async def run_jumps(
    directory: Path, rest_seconds: float, commands: dict[str, list[str]] | None = None
) -> Jumps:
    """Backend and gateways jump together, under an even load, forth and back, in the middle of a
    month and with a backend whose host is in New York."""
    with faulty_fleet(directory, gateways=2, TRUSTED_PROXIES="127.0.0.0/8") as fleet:
        fleet.commands = commands or {}
        clock = WallClock(directory, fleet, fleet.names)
        fleet.environments["backend"] |= _HOST_ZONE
        middle = _seconds_to_mid_month()
        clock.jump_to(middle)
        await asyncio.to_thread(start_all, fleet)
        await asyncio.to_thread(_add_form_for_once, fleet)
        visitors = PacedVisitors(fleet.gateways, _RATE)
        load = asyncio.create_task(visitors.run())
        keyed, reopened = {}, []
        try:
            for number, jump in enumerate(JUMPS):
                await _post_once(fleet, number)
                keyed[jump / _HOUR] = await _post_keyed(fleet, clock, number, middle + jump)
                if await _post_once(fleet, number) != 429:
                    reopened.append(jump / _HOUR)
                await asyncio.sleep(rest_seconds)
                clock.jump_to(middle)
                await asyncio.sleep(rest_seconds)
        finally:
            load.cancel()
            await asyncio.wait([load])
        await asyncio.to_thread(fleet.until_drained, 30.0)
        rows = await read_rows(fleet)
        stored = {orjson.loads(row.payload)["n"] for row in rows}
        acknowledged = [each.marker for each in visitors.samples if each.submission_id]
        return Jumps(
            Counter(sample.status for sample in visitors.samples),
            [marker for marker in acknowledged if marker not in stored],
            await asyncio.to_thread(_recognised, fleet, keyed),
            reopened,
            await _months(fleet),
            sum(row.charged for row in rows),
            max(sample.seconds for sample in visitors.samples),
        )


def _add_form_for_once(fleet: FaultyFleet) -> None:
    with fleet.manager() as manager:
        members = {"name": "Once", "slug": _ONCE, "rate_limit_per_minute": 1}
        manager.post("/v1/forms", json=members).raise_for_status()


async def _post_once(fleet: FaultyFleet, number: int) -> int:
    """The status of a post of that visitor."""
    connection = Connection(fleet.gateways[0])
    address = {"X-Forwarded-For": f"203.0.113.{number}"}
    answer = await connection.post(f"/v1/f/{_ONCE}", {"n": f"once-{number}"}, address)
    connection.close()
    return answer.status


async def _post_keyed(fleet: FaultyFleet, clock: WallClock, number: int, to: float) -> list[str]:
    """The ids that a key is answered through one gateway before a jump, and the other after it."""
    ids = []
    for url in fleet.gateways:
        connection = Connection(url)
        answer = await connection.post(
            "/v1/f/demo", {"n": f"key-{number}"}, {"Idempotency-Key": f"jump-{number}"}
        )
        connection.close()
        ids.append(orjson.loads(answer.body)["id"])
        clock.jump_to(to)
    return ids


def _recognised(fleet: FaultyFleet, keyed: dict[float, list[str]]) -> dict[float, bool]:
    """Whether the ids of each key stand for one submission: one that was promised while the backend
    did not answer in time is an alias of the other."""
    with fleet.manager() as manager:

        def shown(id: str) -> str:
            answer = manager.get(f"/v1/submissions/{id}").raise_for_status()
            return str(answer.json()["id"])

        return {jump: len(set(map(shown, ids))) == 1 for jump, ids in keyed.items()}


@dataclass(slots=True)
class MonthEdge:
    """What became of a quota at a month's edge: accepted posts, and the count of each month."""

    accepted: int
    limit: int
    months: dict[str, int]
    charged: int

    def complaint(self) -> str | None:
        """What must not be; None if no month is above its limit and all is counted.

        What was stored though its answer came too late for its client is not in ``accepted``.
        """
        is_within = all(count <= self.limit for count in self.months.values())
        is_counted = sum(self.months.values()) == self.charged >= self.accepted
        return None if is_within and is_counted else str(self)


async def run_month_edge(directory: Path, limit: int) -> MonthEdge:
    """Posts to a limited form from before the month's edge until after it, through gateways whose
    clocks are two seconds early and late."""
    directory.mkdir(parents=True, exist_ok=True)
    plans = str(write_plans(directory, limit))
    with faulty_fleet(directory, gateways=2, PLANS_FILE=plans) as fleet:
        clocks = {name: WallClock(directory, fleet, [name]) for name in fleet.names}
        fleet.environments["backend"] |= _HOST_ZONE
        # Leases and sessions that began in another month are not what this is about.
        to_edge = _seconds_to_month_end() - 20.0
        for name, clock in clocks.items():
            clock.jump_to(to_edge + {"gateway-0": -2.0, "gateway-1": 2.0}.get(name, 0.0))
        await asyncio.to_thread(start_all, fleet)
        await add_limited_form(fleet)
        accepted = 0
        # Once more from two seconds before the edge, however long the start has taken.
        to_edge = _seconds_to_month_end() - 2.0
        for name, clock in clocks.items():
            clock.jump_to(to_edge + {"gateway-0": -2.0, "gateway-1": 2.0}.get(name, 0.0))
        ends_at = asyncio.get_running_loop().time() + 6.0
        while asyncio.get_running_loop().time() < ends_at:
            statuses = await race_for_quota(fleet, 32)
            accepted += statuses[200] + statuses[202]
        await asyncio.to_thread(fleet.until_drained, 30.0)
        rows = [row for row in await read_rows(fleet) if row.charged]
        return MonthEdge(accepted, limit, await _months(fleet), len(rows))


async def _months(fleet: FaultyFleet) -> dict[str, int]:
    """What was charged in each month."""
    counts = Counter[str]()
    for row in await read(fleet, select(usage_months)):
        counts[row.month] += row.submissions
    return {month: count for month, count in counts.items() if count}


def _now() -> datetime:
    return datetime.fromtimestamp(SystemClock().now_ms() / 1000, UTC)


def _seconds_to_mid_month() -> float:
    now = _now()
    return (now.replace(day=15, hour=12, minute=0, second=0, microsecond=0) - now).total_seconds()


def _seconds_to_month_end() -> float:
    now = _now()
    next_month = (now.replace(day=1) + timedelta(days=32)).replace(
        day=1, hour=0, minute=0, second=0, microsecond=0
    )
    return (next_month - now).total_seconds()
