"""Database files and logs that are damaged while nobody looks: the next start works, or says why
not."""

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
_START_SECONDS = 60.0
_LINES_MAX = 5
_LOAD_SECONDS = 1.0
WRONG = frozenset({"silent", "trace", "hung", "corrupt"})


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
    "log-shorten": shorten,
    "log-flip": flip,
}
# A log says itself which of its commits are whole: what follows the first that is not is gone.
_OF_LOG = frozenset({"log-shorten", "log-flip"})


@dataclass(frozen=True, slots=True)
class Trial:
    """One damaged file: how, and what the backend made of it. ``verdict`` is ``refused`` (it ended
    and said why), ``whole`` (every submission is shown), ``said`` (it answers with an error),
    ``tail`` (it shows all but the last commits of a damaged log), or what must not be: ``silent``
    (it shows others or fewer), ``trace`` (a stack trace), ``hung``, ``corrupt`` (it went on with a
    damaged log and left a damaged file)."""

    kind: str
    seed: str
    verdict: str
    detail: str


@dataclass(frozen=True, slots=True)
class _Base:
    """An intact database: a directory with all of it in one file, one with the submissions in the
    log, and their ids in the order of their commits."""

    whole: Path
    logged: Path
    ids: list[str]


async def run_damage(
    directory: Path, trials: int, seed: int, commands: dict[str, list[str]] | None = None
) -> list[Trial]:
    """So many damaged copies of one database, one start each."""
    with faulty_fleet(directory, gateways=1) as fleet:
        fleet.commands = commands or {}
        base = await _fill(fleet)
        kinds = list(KINDS)
        return [
            await asyncio.to_thread(
                _try, fleet, base, kinds[number % len(kinds)], f"{seed}.{number}"
            )
            for number in range(trials)
        ]


async def _fill(fleet: FaultyFleet) -> _Base:
    """Stores some submissions."""
    await asyncio.to_thread(start_all, fleet)
    database = fleet.directory / "backend" / "formflow.db"
    await asyncio.to_thread(_empty_log, database)
    ledger = Ledger()
    visitors = Crowd(fleet.gateways, pause_seconds=0.0).start(ledger, "damage")
    await asyncio.sleep(_LOAD_SECONDS)
    await stop(visitors)
    fleet.stop()
    base = _Base(fleet.directory / "whole", fleet.directory / "logged", [])
    _copy(database, base.logged)
    base.ids.extend(_empty_log(database))
    _copy(database, base.whole)
    return base


def _empty_log(database: Path) -> list[str]:
    """Moves the log into the file; the ids of the submissions, as they came."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return [id for [id] in connection.execute("SELECT id FROM submissions ORDER BY rowid")]


def _copy(database: Path, directory: Path) -> None:
    """Copies the file and its log, without the index of the log, which ends with its processes."""
    directory.mkdir(exist_ok=True)
    for name in (database.name, _log_of(database).name):
        if (database.parent / name).exists():
            shutil.copy(database.parent / name, directory)


def _log_of(database: Path) -> Path:
    return database.with_name(f"{database.name}-wal")


def _try(fleet: FaultyFleet, base: _Base, kind: str, seed: str) -> Trial:
    path = fleet.directory / "backend" / "formflow.db"
    for old in path.parent.glob("formflow.db*"):
        old.unlink()
    is_of_log = kind in _OF_LOG
    _copy((base.logged if is_of_log else base.whole) / path.name, path.parent)
    KINDS[kind](random.Random(seed), _log_of(path) if is_of_log else path)
    (fleet.directory / "backend.log").unlink()
    fleet.spawn("backend")
    try:
        verdict, detail = _look(fleet, base.ids, may_lose_tail=is_of_log)
    finally:
        fleet.stop()
    log = fleet.log("backend")
    if "Traceback" in log:
        verdict, detail = "trace", log[-2000:]
    if is_of_log and verdict in ("whole", "tail") and (complaint := _complaint(path)):
        verdict, detail = "corrupt", complaint
    return Trial(kind, seed, verdict, detail)


def _complaint(database: Path) -> str | None:
    with closing(sqlite3.connect(database)) as connection:
        [line] = connection.execute("PRAGMA integrity_check(1)").fetchone()
    return None if line == "ok" else str(line)


def _look(fleet: FaultyFleet, ids: list[str], *, may_lose_tail: bool) -> tuple[str, str]:
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
    return _read_all(fleet, ids, may_lose_tail=may_lose_tail)


def _read_all(fleet: FaultyFleet, ids: list[str], *, may_lose_tail: bool) -> tuple[str, str]:
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
    shown = {line.partition(",")[0] for line in answer.text.splitlines()[1:]}
    detail = f"{len(shown)} of {len(ids)}"
    if shown == set(ids):
        return "whole", detail
    is_tail = may_lose_tail and shown == set(ids[: len(shown)])
    return ("tail" if is_tail else "silent"), detail
