"""Database files that are damaged while nobody looks: the next start works, or says why not."""

import asyncio
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.faults.fleet import FaultyFleet, faulty_fleet, start_all
from tests.faults.ledger import Crowd, Ledger, stop
from tests.support.processes import until

_PAGE_BYTES = 4096
_START_SECONDS = 30.0
_LINES_MAX = 5
WRONG = frozenset({"silent", "trace", "hung"})


def flip(chance: random.Random, path: Path) -> None:
    """Changes bytes of one to ten pages."""
    data = bytearray(path.read_bytes())
    for _ in range(chance.randint(1, 10)):
        start = chance.randrange(0, len(data), _PAGE_BYTES)
        for _ in range(chance.randint(1, 64)):
            data[min(start + chance.randrange(_PAGE_BYTES), len(data) - 1)] = chance.randrange(256)
    path.write_bytes(data)


def flip_bit(chance: random.Random, path: Path) -> None:
    """Changes one bit."""
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def shorten(chance: random.Random, path: Path) -> None:
    """Cuts the end off."""
    path.write_bytes(path.read_bytes()[: chance.randrange(1, path.stat().st_size)])


def empty(_: random.Random, path: Path) -> None:
    """Leaves a file of no bytes."""
    path.write_bytes(b"")


def scramble_page(chance: random.Random, path: Path) -> None:
    """Replaces one page."""
    data = bytearray(path.read_bytes())
    start = chance.randrange(0, len(data), _PAGE_BYTES)
    data[start : start + _PAGE_BYTES] = chance.randbytes(_PAGE_BYTES)
    path.write_bytes(data)


KINDS: dict[str, Callable[[random.Random, Path], None]] = {
    "flip": flip,
    "bit": flip_bit,
    "shorten": shorten,
    "empty": empty,
    "scramble": scramble_page,
}


@dataclass(frozen=True, slots=True)
class Trial:
    """One damaged file: how, and what the backend made of it. ``verdict`` is ``refused`` (it ended
    and said why), ``whole`` (every submission is shown), ``said`` (it answers with an error), or
    what must not be: ``silent`` (it shows fewer), ``trace`` (a stack trace), ``hung``."""

    kind: str
    seed: str
    verdict: str
    detail: str


async def run_damage(directory: Path, trials: int, seed: int) -> list[Trial]:
    """So many damaged copies of one database, one start each."""
    with faulty_fleet(directory, gateways=1) as fleet:
        count = await _fill(fleet)
        base = directory / "base.db"
        shutil.copyfile(directory / "backend" / "formflow.db", base)
        kinds = list(KINDS)
        return [
            await asyncio.to_thread(
                _try, fleet, base, kinds[number % len(kinds)], f"{seed}.{number}", count
            )
            for number in range(trials)
        ]


async def _fill(fleet: FaultyFleet) -> int:
    """Stores some submissions, and moves all into the database file; returns how many."""
    await asyncio.to_thread(start_all, fleet)
    ledger = Ledger()
    visitors = Crowd(fleet.gateways, pause_seconds=0.0).start(ledger, "damage")
    await asyncio.sleep(1.0)
    await stop(visitors)
    fleet.stop()
    with closing(sqlite3.connect(fleet.directory / "backend" / "formflow.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        [count] = connection.execute("SELECT count(*) FROM submissions").fetchone()
    return int(count)


def _try(fleet: FaultyFleet, base: Path, kind: str, seed: str, count: int) -> Trial:
    path = fleet.directory / "backend" / "formflow.db"
    for old in path.parent.glob("formflow.db*"):
        old.unlink()
    shutil.copyfile(base, path)
    KINDS[kind](random.Random(seed), path)
    (fleet.directory / "backend.log").unlink()
    fleet.spawn("backend")
    try:
        verdict, detail = _look(fleet, count)
    finally:
        fleet.stop()
    log = fleet.log("backend")
    if "Traceback" in log:
        verdict, detail = "trace", log[-2000:]
    return Trial(kind, seed, verdict, detail)


def _look(fleet: FaultyFleet, count: int) -> tuple[str, str]:
    def has_begun() -> bool:
        return fleet.exit_status("backend") is not None or fleet.get("backend", "/readyz")[0] == 200

    try:
        until(has_begun, _START_SECONDS)
    except AssertionError:
        return "hung", fleet.log("backend")[-500:]
    status = fleet.exit_status("backend")
    if status is not None:
        lines = fleet.log("backend").splitlines()
        is_clear = status > 0 and 0 < len(lines) <= _LINES_MAX
        return ("refused" if is_clear else "trace"), fleet.log("backend")[-500:]
    return _read_all(fleet, count)


def _read_all(fleet: FaultyFleet, count: int) -> tuple[str, str]:
    path = f"/v1/forms/{fleet.first['demo_form_id']}/submissions.csv"
    try:
        with fleet.manager() as manager:
            answer = manager.get(path)
    except httpx.TransportError as error:
        return "said", repr(error)
    if answer.status_code == 403:
        return "silent", "it began anew"
    if not answer.is_success:
        return "said", f"{answer.status_code} {answer.text[:200]}"
    shown = len(answer.text.splitlines()) - 1
    return ("whole" if shown == count else "silent"), f"{shown} of {count}"
