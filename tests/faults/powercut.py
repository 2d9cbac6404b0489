"""Power cuts under load: the database and the spool on a disk that forgets what was not synced."""

import asyncio
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from ctypes.util import find_library
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from gateway.spool.directory import DATABASE
from tests.faults.cycles import DRAIN_SECONDS
from tests.faults.fleet import FaultyFleet, faulty_fleet, start_all
from tests.faults.ledger import Crowd, Ledger, stop
from tests.faults.verdict import Verdict, judge
from tests.support.processes import until

_MOUNT_SECONDS = 30.0
_SPOOLED_SHARE = 0.7
_SPOOL_SECONDS_MAX = 40.0


def why_not() -> str | None:
    """Why this machine cannot do it; None if it can."""
    if find_spec("mfusepy") is None:
        return "mfusepy is not installed"
    if find_library("fuse3") is None and find_library("fuse") is None:
        return "no libfuse on this machine (Debian: apt-get install libfuse3-3)"
    if not os.access("/dev/fuse", os.R_OK | os.W_OK) or shutil.which("fusermount3") is None:
        return "no FUSE on this machine (Debian: apt-get install fuse3)"
    return None


class ForgetfulMount:
    """A forgetful disk, mounted at a directory; served by a process of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.forgetful_mount", str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._mount()

    def make_directory(self, name: str) -> Path:
        """A directory on it that is there for good, as an operator makes one."""
        (self.directory / name).mkdir()
        descriptor = os.open(self.directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return self.directory / name

    def cut(self, kind: str, seed: int) -> None:
        """A power cut, ``plain`` or ``torn``, while nobody uses the disk."""
        self._unmount()
        self._say(f"cut {kind} {seed}")
        self._wait()
        self._mount()

    def close(self) -> None:
        """Ends it; what is on it is gone."""
        self._unmount()
        _, _ = self._server.communicate(timeout=_MOUNT_SECONDS)

    def _mount(self) -> None:
        self._say("mount")
        until(lambda: os.path.ismount(self.directory), _MOUNT_SECONDS)

    def _unmount(self) -> None:
        # Busy until the last killed process is gone for good.
        command = ["fusermount3", "-u", str(self.directory)]
        until(lambda: subprocess.run(command, capture_output=True).returncode == 0, _MOUNT_SECONDS)
        self._wait()

    def _say(self, line: str) -> None:
        assert self._server.stdin is not None
        self._server.stdin.write(line.encode() + b"\n")
        self._server.stdin.flush()

    def _wait(self) -> None:
        assert self._server.stdout is not None
        line = self._server.stdout.readline()
        assert line == b"done\n", line


@contextmanager
def forgetful_mount(directory: Path) -> Iterator[ForgetfulMount]:
    """A forgetful disk while the block runs."""
    mount = ForgetfulMount(directory)
    try:
        yield mount
    finally:
        mount.close()


@dataclass(frozen=True, slots=True)
class Plan:
    """The size of a run."""

    cuts: int
    seed: int
    commands: dict[str, list[str]] = field(default_factory=dict)


@dataclass(slots=True)
class Outcome:
    """What a run found; ``corrupt`` are SQLite's complaints about a database after a cut."""

    verdict: Verdict
    ledger: Ledger
    corrupt: list[str]


async def run_cuts(directory: Path, plan: Plan) -> Outcome:
    """Cuts the power so often, plain and torn by turns, the first time and mostly afterwards when
    the backend has been away for a moment and the gateway has spooled."""
    with (
        forgetful_mount(directory / "disk") as disk,
        faulty_fleet(directory, gateways=1) as fleet,
    ):
        fleet.commands = dict(plan.commands)
        for name in fleet.names:
            fleet.overrides[name] = {"DATA_DIR": str(disk.make_directory(name))}
        await asyncio.to_thread(start_all, fleet)
        await asyncio.to_thread(_copy_log, disk.directory / "backend" / "formflow.db")
        return await _cut_under_load(fleet, disk, plan)


async def _cut_under_load(fleet: FaultyFleet, disk: ForgetfulMount, plan: Plan) -> Outcome:
    chance = random.Random(plan.seed)
    ledger, corrupt = Ledger(), []
    for number in range(plan.cuts):
        visitors = Crowd(fleet.gateways).start(ledger, f"{plan.seed}.{number}")
        await asyncio.sleep(chance.uniform(0.2, 0.8))
        if number == 0 or chance.random() < _SPOOLED_SHARE:
            fleet.kill("backend")
            await _until_queued(ledger)
            await asyncio.sleep(chance.uniform(0.2, 0.8))
        fleet.stop()
        await stop(visitors)
        kind = "torn" if number % 2 else "plain"
        await asyncio.to_thread(disk.cut, kind, chance.randrange(1 << 30))
        databases = [disk.directory / "backend" / "formflow.db"]
        databases += (disk.directory / "gateway-0").rglob(DATABASE)
        corrupt += [line for path in databases for line in _complaints(path)]
        await asyncio.to_thread(fleet.restart_all)
    await asyncio.to_thread(fleet.until_drained, DRAIN_SECONDS)
    verdict = await judge(fleet, ledger)
    fleet.stop()
    return Outcome(verdict, ledger, corrupt)


def _copy_log(path: Path) -> None:
    """Has the form itself on the disk: without it a spoilt backend refuses all that is drained."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(FULL)").fetchall()


async def _until_queued(ledger: Ledger) -> None:
    """Returns once one more post has been answered from the spool."""
    before = ledger.statuses[202]
    async with asyncio.timeout(_SPOOL_SECONDS_MAX):
        while ledger.statuses[202] == before:
            await asyncio.sleep(0.01)


def _complaints(path: Path) -> list[str]:
    """Of a copy: SQLite would bring the log into the file, and that is for the product to do."""
    with TemporaryDirectory() as directory:
        for each in path.parent.glob(f"{path.name}*"):
            shutil.copy(each, directory)
        with closing(sqlite3.connect(Path(directory) / path.name)) as connection:
            lines = [row[0] for row in connection.execute("PRAGMA integrity_check")]
    return [f"{path.name}: {line}" for line in lines if line != "ok"]
