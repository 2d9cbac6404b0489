"""Wall clocks that jump, under load: libfaketime in the processes, monotonic clocks left alone."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
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
    """What a run found: statuses of the posts, those acknowledged and lost, and whether a key was
    recognised after each jump (hours to it)."""

    statuses: Counter[int]
    lost: list[str]
    recognised: dict[float, bool] = field(default_factory=dict)
    slowest: float = 0.0


async def run_jumps(directory: Path, rest_seconds: float) -> Jumps:
    """Backend and gateways jump together, under an even load, forth and back."""
    with faulty_fleet(directory, gateways=2) as fleet:
        clock = WallClock(directory, fleet, fleet.names)
        await asyncio.to_thread(start_all, fleet)
        visitors = PacedVisitors(fleet.gateways, _RATE)
        load = asyncio.create_task(visitors.run())
        recognised = {}
        try:
            for number, jump in enumerate(JUMPS):
                recognised[jump / _HOUR] = await _is_recognised(fleet, clock, number, jump)
                await asyncio.sleep(rest_seconds)
                clock.jump_to(0.0)
                await asyncio.sleep(rest_seconds)
        finally:
            load.cancel()
            await asyncio.wait([load])
        await asyncio.to_thread(fleet.until_drained, 30.0)
        stored = {orjson.loads(row.payload)["n"] for row in await read_rows(fleet)}
        acknowledged = [each.marker for each in visitors.samples if each.submission_id]
        return Jumps(
            Counter(sample.status for sample in visitors.samples),
            [marker for marker in acknowledged if marker not in stored],
            recognised,
            max(sample.seconds for sample in visitors.samples),
        )


async def _is_recognised(fleet: FaultyFleet, clock: WallClock, number: int, jump: float) -> bool:
    """Whether a key that is posted through one gateway before a jump is known to the other one
    after it."""
    ids: list[str | None] = []
    for url in fleet.gateways:
        connection = Connection(url)
        answer = await connection.post(
            "/v1/f/demo", {"n": f"key-{number}"}, {"Idempotency-Key": f"jump-{number}"}
        )
        connection.close()
        ids.append(orjson.loads(answer.body).get("id"))
        clock.jump_to(jump)
    return ids[0] == ids[1]


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
        months = await read(fleet, select(usage_months))
        counts = {row.month: row.submissions for row in months if row.submissions}
        return MonthEdge(accepted, limit, counts, len(rows))


def _seconds_to_month_end() -> float:
    now = datetime.fromtimestamp(SystemClock().now_ms() / 1000, UTC)
    next_month = (now.replace(day=1) + timedelta(days=32)).replace(
        day=1, hour=0, minute=0, second=0, microsecond=0
    )
    return (next_month - now).total_seconds()
