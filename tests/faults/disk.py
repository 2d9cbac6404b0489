"""Disks that fail or are full, under load: one system call fails, or there is no space left."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import httpx

from tests.faults.cycles import DRAIN_SECONDS
from tests.faults.fleet import FaultyFleet, faulty_fleet, start_all
from tests.faults.ledger import Crowd, Ledger, stop
from tests.faults.verdict import Verdict, judge
from tests.support.processes import until

_WARM_SECONDS_MAX = 20.0
# How long the load goes on after a call of a disk that is full, and until a call is made at all.
_LOAD_SECONDS = 0.5
_HIT_SECONDS_MAX = 5.0
_MISSES_MAX = 4
_A_FORM = b"formflow_cached_forms 1.0"
_MAILBOX = "mail"
_DATABASE = "formflow.db"
_DATABASE_LOG = "formflow.db-wal"
_WRITE = "pwrite64"
ANSWER_SECONDS = 15.0
Service = Literal["backend", "gateway-0"]
SERVICES: tuple[Service, ...] = ("backend", "gateway-0")
_FORMFLOW = (sys.executable, "-m", "formflow")
_MIB = 1024 * 1024


def why_no_injection() -> str | None:
    """Why system calls cannot be made to fail here; None if they can."""
    strace = shutil.which("strace")
    if strace is None or subprocess.run([strace, "-o", "/dev/null", "true"]).returncode:
        return "strace is not there, or may not trace"
    return None


def why_no_small_disk() -> str | None:
    """Why there can be no small disk here; None if there can."""
    unshare = shutil.which("unshare")
    mount = ["-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    if unshare is None or subprocess.run([unshare, *mount], capture_output=True).returncode:
        return "no tmpfs may be mounted in a namespace"
    return None


@dataclass(frozen=True, slots=True)
class Injection:
    """Which call of which process fails: ``when`` as strace has it (``5``, ``5..40``), counted in
    each thread."""

    service: Service
    call: str
    error: str
    when: str


@dataclass(frozen=True, slots=True)
class Hit:
    """The call that failed: the file, and whether its thread had written there since it last synced
    it."""

    path: Path
    is_written: bool


@dataclass(slots=True)
class Outcome:
    """What came of an injection. ``hit`` is None if no call failed; ``exit_status`` is None if the
    process went on; ``slowest`` is in seconds."""

    injection: Injection
    statuses: Counter[int]
    hit: Hit | None
    exit_status: int | None
    slowest: float
    log: str

    def complaint(self) -> str | None:
        """What must not be; None if all is as promised."""
        if self.statuses[500] or self.slowest > ANSWER_SECONDS:
            return f"{self.injection}: {dict(self.statuses)}, slowest {self.slowest:.1f} s"
        if self.injection.error == "EIO" and _is_fatal(self.hit) and not self.exit_status:
            return f"{self.injection}: exit status {self.exit_status}: {self.log[-500:]}"
        return None


@dataclass(slots=True)
class Series:
    """What came of injections one after the other, and what the database holds in the end."""

    outcomes: list[Outcome]
    verdict: Verdict

    def complaints(self) -> list[str]:
        """What must not be, of each of them and in the end."""
        found = [each.complaint() for each in self.outcomes]
        if not self.verdict.is_clean:
            found.append(f"{self.outcomes[0].injection} and after it: {self.verdict}")
        return [complaint for complaint in found if complaint is not None]


async def run_series(
    directory: Path,
    injections: Sequence[Injection],
    command: Sequence[str] = _FORMFLOW,
    patience_seconds: float = ANSWER_SECONDS,
) -> Series:
    """Load while a call fails, one after the other in one fleet; a gateway's while the backend is
    away. In the end all runs as usual, the spool is drained, and the ledger held against it.

    ``command`` runs the process whose call fails; one that must end has so long to do it.

    Ends early when so many calls in a row were not made at all that no later one would be.
    """
    with faulty_fleet(directory, gateways=1) as fleet:
        await asyncio.to_thread(start_all, fleet)
        ledger = Ledger()
        outcomes: list[Outcome] = []
        for injection in injections:
            outcomes.append(await _inject(fleet, injection, ledger, command, patience_seconds))
            last = outcomes[-_MISSES_MAX:]
            if len(last) == _MISSES_MAX and not any(each.hit for each in last):
                break
        await asyncio.to_thread(fleet.restart_all)
        await asyncio.to_thread(fleet.until_drained, 2 * DRAIN_SECONDS)
        return Series(outcomes, await judge(fleet, ledger))


async def _inject(
    fleet: FaultyFleet,
    injection: Injection,
    ledger: Ledger,
    command: Sequence[str],
    patience_seconds: float,
) -> Outcome:
    name, calls = injection.service, fleet.directory / f"calls-{injection.when}"
    if fleet.exit_status("backend") is not None:
        await asyncio.to_thread(fleet.start, "backend")
    await _restart_under(fleet, injection, command, calls)
    seen = Ledger()
    visitors = Crowd(fleet.gateways).start(seen, f"{injection.call}-{injection.when}")
    if name != "backend":
        await _until_warm(fleet, name, calls)
        fleet.kill("backend")
    hit = await _until_hit(calls)
    ends = injection.error == "EIO" and _is_fatal(hit)
    if hit is not None and not ends:
        await asyncio.sleep(_LOAD_SECONDS)
    status = await asyncio.to_thread(fleet.wait_for_end, name, patience_seconds if ends else 0.0)
    await stop(visitors)
    if fleet.exit_status(name) is None:
        fleet.kill(name)
    fleet.commands.clear()
    ledger.entries += seen.entries
    slowest = max(seen.seconds, default=0.0)
    return Outcome(injection, seen.statuses, hit, status, slowest, fleet.log(name))


async def _until_warm(fleet: FaultyFleet, name: str, calls: Path) -> None:
    """Returns when the gateway has heard of the form, unless the call fails before that."""
    deadline = asyncio.get_running_loop().time() + _WARM_SECONDS_MAX
    while asyncio.get_running_loop().time() < deadline:
        if fleet.exit_status(name) is not None or _hit(calls):
            return
        _, metrics = await asyncio.to_thread(fleet.get, name, "/metrics")
        if _A_FORM in metrics.splitlines():
            return
        await asyncio.sleep(0.05)


async def _until_hit(calls: Path) -> Hit | None:
    deadline = asyncio.get_running_loop().time() + _HIT_SECONDS_MAX
    while asyncio.get_running_loop().time() < deadline:
        if hit := _hit(calls):
            return hit
        await asyncio.sleep(0.05)
    return None


async def _restart_under(
    fleet: FaultyFleet, injection: Injection, command: Sequence[str], calls: Path
) -> None:
    name = injection.service
    fleet.kill(name)
    rule = f"inject={injection.call}:error={injection.error}:when={injection.when}"
    # -D: the process is our child, not strace's.
    strace = ["strace", "-D", "-f", "--seccomp-bpf", "-qq", "-y", "-s", "0", "-o", str(calls)]
    trace = f"trace={injection.call},{_WRITE}"
    fleet.commands[name] = [*strace, "-e", rule, "-e", trace, *command]
    fleet.spawn(name)
    await asyncio.to_thread(
        until, lambda: fleet.exit_status(name) is not None or fleet.get(name, "/livez")[0] == 200
    )


def _hit(calls: Path) -> Hit | None:
    """The call that failed, of a file and no directory: SQLite overlooks a failed sync of those."""
    begun: dict[str, Hit] = {}
    written: set[tuple[str, Path]] = set()
    for line in calls.read_text().splitlines():
        thread, _, call = line.partition(" ")
        # The end of a call that others came amid names no file: its beginning did.
        if "<... " not in call:
            path = Path(call.partition("<")[2].partition(">")[0])
            begun[thread] = Hit(path, (thread, path) in written)
            if call.lstrip().startswith(_WRITE):
                written.add((thread, path))
            else:
                written.discard((thread, path))
        if "INJECTED" in call and not begun[thread].path.is_dir():
            return begun[thread]
    return None


def _is_fatal(hit: Hit | None) -> bool:
    """Whether a failed sync must end the process. A mail is written anew before it counts. What
    SQLite copies from its log into the database stays in the log until a later copy is synced; and
    that it syncs the log before, too, adds nothing to the syncs of the commits."""
    if hit is None or _MAILBOX in hit.path.parts or hit.path.name == _DATABASE:
        return False
    return hit.is_written or hit.path.name != _DATABASE_LOG


class SmallDisk:
    """A tmpfs that one process of a fleet has its data on, in a mount namespace of its own."""

    def __init__(
        self, fleet: FaultyFleet, name: str, mebibytes: int, command: Sequence[str]
    ) -> None:
        self._fleet, self._name = fleet, name
        self._directory = fleet.directory / name
        self._directory.mkdir(exist_ok=True)
        script = f'mount -t tmpfs -o size={mebibytes}m tmpfs "$0" && exec "$@"'
        mounting = ["unshare", "-rm", "sh", "-c", script, str(self._directory)]
        fleet.commands[name] = [*mounting, *command]

    @property
    def seen_from_outside(self) -> Path:
        """The directory as it is for the process, while that runs."""
        root = Path(f"/proc/{self._fleet.pid(self._name)}/root")
        return root / self._directory.relative_to("/")

    @contextmanager
    def filled(self) -> Iterator[None]:
        """Not a byte is free while the block runs."""
        ballast = self.seen_from_outside / "ballast"
        descriptor = os.open(ballast, os.O_WRONLY | os.O_CREAT)
        try:
            for size in (_MIB, 4096, 1):
                _fill(descriptor, bytes(size))
            yield
        finally:
            os.close(descriptor)
            ballast.unlink()


def _fill(descriptor: int, piece: bytes) -> None:
    while True:
        try:
            os.write(descriptor, piece)
        except OSError:
            return


@dataclass(slots=True)
class FullDisk:
    """What came of a full disk: statuses of posts while it was full and once it had space again,
    of a read meanwhile, and the slowest answer in seconds."""

    verdict: Verdict
    full: Counter[int]
    after: Counter[int]
    read_status: int
    slowest: float


async def run_full_disk(
    directory: Path, seconds: float, command: Sequence[str] = _FORMFLOW
) -> FullDisk:
    """The disk of the backend, which ``command`` runs, fills up under load, and has space again."""
    with faulty_fleet(directory, gateways=1) as fleet:
        disk = SmallDisk(fleet, "backend", 8, command)
        await asyncio.to_thread(start_all, fleet)
        ledger, before = Ledger(), Counter[int]()
        visitors = Crowd(fleet.gateways).start(ledger, "full")
        await asyncio.sleep(seconds / 2)
        with disk.filled():
            before = Counter(ledger.statuses)
            await asyncio.sleep(seconds)
            read_status = await asyncio.to_thread(_read_something, fleet)
            full = ledger.statuses - before
        # A gateway asks again after three seconds and a half at most.
        await asyncio.sleep(4.0)
        before = Counter(ledger.statuses)
        await asyncio.sleep(1.0)
        after = ledger.statuses - before
        await stop(visitors)
        await asyncio.to_thread(fleet.until_drained, DRAIN_SECONDS)
        # SQLite would follow the way into the namespace back out of it.
        shutil.copytree(disk.seen_from_outside, directory / "copy")
        fleet.overrides["backend"] = {"DATA_DIR": str(directory / "copy")}
        verdict = await judge(fleet, ledger)
        return FullDisk(verdict, full, after, read_status, max(ledger.seconds))


def _read_something(fleet: FaultyFleet) -> int:
    with fleet.manager() as manager:
        path = f"/v1/forms/{fleet.first['demo_form_id']}/submissions"
        try:
            return manager.get(path).status_code
        except httpx.TransportError:
            return 0
