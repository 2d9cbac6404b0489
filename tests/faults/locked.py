"""A SQLite database that somebody else holds: for writing, and for reading."""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.faults.cycles import DRAIN_SECONDS
from tests.faults.fleet import faulty_fleet, start_all
from tests.faults.ledger import Crowd, Ledger, stop
from tests.faults.verdict import Verdict, judge


@dataclass(slots=True)
class Locked:
    """Statuses while the database was locked and afterwards; the slowest answer in seconds."""

    verdict: Verdict
    meanwhile: Counter[int]
    after: Counter[int]
    slowest: float


@contextmanager
def held(database: Path, begin: str) -> Iterator[None]:
    """Somebody else's transaction, which has read something."""
    with closing(sqlite3.connect(database, isolation_level=None, timeout=10)) as connection:
        connection.execute(begin)
        connection.execute("SELECT count(*) FROM submissions").fetchone()
        yield
        connection.execute("ROLLBACK")


async def run_locked(
    directory: Path, seconds: float, commands: dict[str, list[str]] | None = None
) -> Locked:
    """Another process holds the write lock for that long, under load."""
    with faulty_fleet(directory, gateways=1) as fleet:
        fleet.commands = commands or {}
        await asyncio.to_thread(start_all, fleet)
        ledger = Ledger()
        visitors = Crowd(fleet.gateways).start(ledger, "locked")
        await asyncio.sleep(0.5)
        with held(directory / "backend" / "formflow.db", "BEGIN IMMEDIATE"):
            before = Counter(ledger.statuses)
            await asyncio.sleep(seconds)
            meanwhile = ledger.statuses - before
        # A gateway asks again after three seconds and a half at most.
        await asyncio.sleep(4.0)
        before = Counter(ledger.statuses)
        await asyncio.sleep(1.0)
        after = ledger.statuses - before
        await stop(visitors)
        await asyncio.to_thread(fleet.until_drained, DRAIN_SECONDS)
        return Locked(await judge(fleet, ledger), meanwhile, after, max(ledger.seconds))


@dataclass(slots=True)
class LogSizes:
    """Bytes of the write-ahead log: when a reader that held it ended, and after as long again."""

    verdict: Verdict
    held: int
    after: int
    others: Counter[int]


async def run_reader(directory: Path, seconds: float) -> LogSizes:
    """A reader keeps one old state for that long while visitors post as fast as they can."""
    with faulty_fleet(directory, gateways=1) as fleet:
        await asyncio.to_thread(start_all, fleet)
        ledger, log = Ledger(), directory / "backend" / "formflow.db-wal"
        visitors = Crowd(fleet.gateways, pause_seconds=0.0).start(ledger, "reader")
        with held(directory / "backend" / "formflow.db", "BEGIN"):
            await asyncio.sleep(seconds)
        size = log.stat().st_size
        await asyncio.sleep(seconds)
        await stop(visitors)
        after = log.stat().st_size
        await asyncio.to_thread(fleet.until_drained, DRAIN_SECONDS)
        others = ledger.statuses - Counter({200: ledger.statuses[200]})
        return LogSizes(await judge(fleet, ledger), size, after, others)
