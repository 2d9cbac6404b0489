"""Backups are made while posts come in and the backend is killed, and each is restored."""

import asyncio
import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from subprocess import CompletedProcess
from threading import Event, Lock, Thread

import httpx
import orjson

from tests.faults.locked import held
from tests.support.processes import FORMFLOW, Product, run_formflow, until

_WRITERS = 3
_PAUSE_SECONDS = 0.02
_WITH_FILE = 10
_POSTS_BEFORE = 40


@dataclass(frozen=True, slots=True)
class Stored:
    """A post that was answered 200: its marker, which is its idempotency key too, and its id."""

    marker: str
    id: str


@dataclass
class Load:
    """Visitors who post one after the other; each of ``stored`` was committed before it
    was added."""

    url: str
    stored: list[Stored] = field(default_factory=list)
    sent: set[str] = field(default_factory=set)
    _numbers: Iterator[int] = field(default_factory=count)
    _lock: Lock = field(default_factory=Lock)
    _stop: Event = field(default_factory=Event)

    @contextmanager
    def running(self) -> Iterator["Load"]:
        """Posts while the block runs."""
        threads = [Thread(target=self._run) for _ in range(_WRITERS)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def wait_for(self, count: int) -> None:
        """Returns once so many posts are stored."""
        until(lambda: len(self.stored) >= count)

    def post(self, marker: str) -> httpx.Response:
        """One post, which is always the same for the same marker."""
        with_file = int(marker.partition("-")[2]) % _WITH_FILE == 0
        files = {"cv": (f"{marker}.txt", marker.encode() * 500)} if with_file else None
        return httpx.post(
            f"{self.url}/v1/f/demo",
            data={"marker": marker},
            files=files,
            headers={"idempotency-key": marker},
            timeout=20.0,
        )

    def _run(self) -> None:
        while not self._stop.wait(_PAUSE_SECONDS):
            with self._lock:
                marker = f"post-{next(self._numbers)}"
                self.sent.add(marker)
            try:
                answer = self.post(marker)
            except httpx.TransportError:
                continue
            if answer.status_code == 200:
                self.stored.append(Stored(marker, answer.json()["id"]))


@dataclass(slots=True)
class Backups:
    """What a run found: how many were restored whole, with how many submissions, and what was
    wrong."""

    restored: int = 0
    submissions: int = 0
    wrong: list[str] = field(default_factory=list)


async def run_backups(
    directory: Path, times: int, command: Sequence[str] = FORMFLOW, *, kills: bool = True
) -> Backups:
    """Makes and restores so many backups of one product with ``command``, every second one while
    the backend is killed, if it ``kills``; the last one is started, if all are whole."""
    return await asyncio.to_thread(_run, directory, times, command, kills)


def _run(directory: Path, times: int, command: Sequence[str], kills: bool) -> Backups:
    outcome = Backups()
    product = Product(directory / "data").start()
    try:
        product.lift_rate_limit()
        with Load(product.url).running() as load:
            for number in range(times):
                archive = directory / f"backup-{number}.tar.gz"
                is_killed = kills and number % 2 == 0
                # A reader who came before keeps what is posted meanwhile in the log.
                with held(product.data_dir / "formflow.db", "BEGIN"):
                    load.wait_for(_POSTS_BEFORE * (number + 1))
                    committed = list(load.stored)
                    made = _back_up(product, archive, command, is_killed=is_killed)
                target = directory / f"restored-{number}"
                found = _restore(archive, target, made, committed, load, command)
                outcome.wrong += [f"{number}: {complaint}" for complaint in found]
                outcome.restored += not found
                outcome.submissions = len(committed)
    finally:
        product.stop()
    if not outcome.wrong:
        _start_restored(product, load, directory / f"restored-{times - 1}", outcome)
    return outcome


def _back_up(
    product: Product, archive: Path, command: Sequence[str], *, is_killed: bool
) -> CompletedProcess[str]:
    """Makes a backup, and kills the backend meanwhile if that is to be."""
    killing = Thread(target=product.kill, args=("backend",))
    if is_killed:
        killing.start()
    source = ("--data", str(product.data_dir), "--output", str(archive))
    made = run_formflow("backup", "--json", *source, command=command)
    if is_killed:
        killing.join()
    return made


def _restore(
    archive: Path,
    target: Path,
    made: CompletedProcess[str],
    committed: list[Stored],
    load: Load,
    command: Sequence[str],
) -> list[str]:
    """Restores a backup; what is wrong with it."""
    restored = run_formflow(
        "restore", "--json", str(archive), "--data", str(target), command=command
    )
    for done in (made, restored):
        if done.returncode:
            return [done.stderr.strip()]
    epochs = [orjson.loads(made.stdout)["epoch"], orjson.loads(restored.stdout)["new_epoch"]]
    found = _complaints(target, committed, load, epochs)
    if archive.stat().st_mode & 0o777 != 0o600:
        found.append("others may read the archive")
    return found


def _complaints(target: Path, committed: list[Stored], load: Load, epochs: list[str]) -> list[str]:
    """What is wrong with a restored data directory, of which nothing has been started yet."""
    complaints = []
    with closing(sqlite3.connect(target / "formflow.db")) as database:

        def one(statement: str) -> str:
            return str(database.execute(statement).fetchone()[0])

        if one("PRAGMA integrity_check") != "ok":
            complaints.append("the database is damaged")
        rows = database.execute("SELECT id, json_extract(payload, '$.marker') FROM submissions")
        stored = {str(id): str(marker) for id, marker in rows}
        lost = [post.marker for post in committed if stored.get(post.id) != post.marker]
        if lost:
            complaints.append(f"lost {lost[:3]}")
        if len(set(stored.values())) != len(stored) or not set(stored.values()) <= load.sent:
            complaints.append("submissions that nobody posted, or twice")
        charged = one("SELECT sum(charged) FROM submissions")
        if one("SELECT sum(submissions) FROM usage_months") != charged:
            complaints.append("the month is not what its submissions cost")
        if one("SELECT sum(submissions) FROM form_days") != str(len(stored)):
            complaints.append("the days do not count the submissions")
        if one("SELECT epoch FROM config_state") != epochs[1] or epochs[0] == epochs[1]:
            complaints.append("the epoch is the old one")
        for key, sha256 in database.execute("SELECT object_key, sha256 FROM files"):
            path = target / "files" / key
            if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
                complaints.append(f"the file {key} is not what it was")
    return complaints


def _start_restored(product: Product, load: Load, target: Path, outcome: Backups) -> None:
    """The restored product serves: its keys work, its files open, and what was posted before the
    backup is recognised when it is sent again."""
    original = product.first["management_key"]
    restored = Product(target).start()
    try:
        with restored.client(authorization=f"Bearer {original}") as manager:
            page = manager.get(f"/v1/forms/{product.first['demo_form_id']}/submissions")
            newest = page.raise_for_status().json()["data"][0]
            load.url = restored.url
            again = load.post(newest["payload"]["marker"])
            if again.json().get("id") != newest["id"]:
                outcome.wrong.append(f"{newest['id']} is not recognised: {again.text}")
            files = [file for item in page.json()["data"] for file in item["files"]]
            for file in files[:3]:
                if len(manager.get(file["url"]).content) != file["size"]:
                    outcome.wrong.append(f"the file {file['id']} does not open")
        if not load.post("post-0999999").is_success:
            outcome.wrong.append("it takes no posts")
    finally:
        restored.stop()
