"""``formflow gateway --workers N``, and the supervision of child processes."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import orjson
import pytest

from formflow.supervisor import Child, ChildFailed, Supervisor
from tests.support.fleet import TOKEN, Fleet, free_port, running_fleet
from tests.support.processes import clean_environment, run_formflow, until

_STOP_SECONDS = 30.0
_HEAD = b"POST /v1/f/demo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n"
_BUT_FOR_A_BYTE = _HEAD + b"Content-Type: application/x-www-form-urlencoded\r\n\r\na="


@dataclass
class Workers:
    """A running gateway of several processes."""

    url: str
    process: "subprocess.Popen[bytes]"
    log_file: Path

    def pids(self) -> list[int]:
        """The workers that live, by their number."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        numbers = {int(child): _number(child) for child in children}
        return sorted((pid for pid in numbers if numbers[pid]), key=numbers.__getitem__)

    def post(self) -> int:
        """The status of a post on a connection of its own."""
        return httpx.post(f"{self.url}/v1/f/demo", data={"a": "b"}, timeout=20.0).status_code

    def lines(self, event: str) -> list[dict[str, object]]:
        """The log's lines of one event."""
        lines = [orjson.loads(line) for line in self.log_file.read_bytes().splitlines()]
        return [line for line in lines if line["event"] == event]

    def is_ready(self) -> bool:
        """Whether a new connection's worker is ready."""
        try:
            return httpx.get(f"{self.url}/readyz").is_success
        except httpx.TransportError:
            return False


def _number(pid: str) -> str:
    """A worker's number, as it was told; nothing for what is no worker, or not yet or any more."""
    arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return arguments[arguments.index(b"--worker") + 1].decode() if b"--worker" in arguments else ""


@contextmanager
def running_workers(fleet: Fleet, count: int = 2, **settings: str) -> Iterator[Workers]:
    """Started workers on the fleet's backend."""
    port = free_port()
    log_file = fleet.directory / "workers.log"
    environment = {
        "DATA_DIR": str(fleet.directory / "workers"),
        "INTERNAL_TOKEN": TOKEN,
        "BACKEND_URL": fleet.urls["backend"],
        "PORT": str(port),
        "DRAIN_SECONDS": "0",
        "LOG_FORMAT": "json",
    } | settings
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "formflow", "gateway", "--workers", str(count)],
            env=clean_environment(**environment),
            stderr=log,
        )
    workers = Workers(f"http://127.0.0.1:{port}", process, log_file)
    try:
        until(lambda: len(workers.lines("gateway serves")) == 1)
        until(workers.is_ready)
        yield workers
    finally:
        process.terminate()
        process.wait(_STOP_SECONDS)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A backend whose demo form takes as many posts as come."""
    with running_fleet(tmp_path_factory.mktemp("fleet"), gateways=0) as running:
        with running.manager() as manager:
            form = manager.get("/v1/forms").json()["data"][0]
            limit = {"rate_limit_per_minute": 100_000}
            manager.patch(f"/v1/forms/{form['id']}", json=limit).raise_for_status()
        yield running


def test_posts_spread_over_the_workers(fleet: Fleet) -> None:
    with running_workers(fleet) as workers:
        # An odd number: the two counts differ.
        assert {workers.post() for _ in range(33)} == {200}
        counts: set[float] = set()

        def is_seen() -> bool:
            metrics = httpx.get(f"{workers.url}/metrics").text
            counts.add(
                sum(map(float, re.findall(r"^formflow_posts_total.* (\S+)$", metrics, re.M)))
            )
            return len(counts) == 2

        until(is_seen)
        assert sum(counts) == 33
        [warning] = [line for line in workers.lines(_RATE_LIMITS) if line["level"] == "warning"]
        assert warning["workers"] == 2
    assert workers.process.returncode == 0


_RATE_LIMITS = (
    "each worker counts rate limits for itself, so that a visitor may post up to that many times "
    "as often: FORMFLOW_RATE_LIMIT_URL names a Redis that counts for all"
)


def test_a_killed_worker_comes_back_and_nobody_waits_for_it(fleet: Fleet) -> None:
    with running_workers(fleet) as workers:
        other = workers.pids()[1]
        for deaths in range(1, 4):
            victim = workers.pids()[0]
            os.kill(victim, signal.SIGKILL)
            until(lambda deaths=deaths: len(workers.lines(_DIED)) == deaths)  # type: ignore[misc]
            assert {workers.post() for _ in range(8)} == {200}
            until(lambda: len(workers.pids()) == 2)
        died = workers.lines(_DIED)
        assert [line["pause_seconds"] for line in died] == [0.1, 0.2, 0.4]
        assert {(line["child"], line["ended"]) for line in died} == {
            ("gateway worker 0", "signal 9")
        }
        assert workers.pids()[1] == other
        assert workers.post() == 200


_DIED = "child died, restarting"


def test_workers_stop_being_ready_first_and_finish_what_they_took(fleet: Fleet) -> None:
    with running_workers(fleet, DRAIN_SECONDS="1") as workers:
        port = int(workers.url.rpartition(":")[2])
        children = workers.pids()
        with socket.create_connection(("127.0.0.1", port)) as raw:
            raw.sendall(_BUT_FOR_A_BYTE)
            workers.process.terminate()
            until(lambda: httpx.get(f"{workers.url}/readyz").status_code == 503)
            assert workers.post() == 200
            until(lambda: not workers.is_ready() and _refuses(port))
            raw.sendall(b"b")
            assert raw.recv(65_536).startswith(b"HTTP/1.1 200 ")
        assert workers.process.wait(_STOP_SECONDS) == 0
    assert not any(Path(f"/proc/{child}").exists() for child in children)


def _refuses(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_second_signal_stops_at_once(fleet: Fleet) -> None:
    with running_workers(fleet) as workers:
        port = int(workers.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as raw:
            raw.sendall(_BUT_FOR_A_BYTE)
            workers.process.terminate()
            until(lambda: len(workers.lines("stopping")) == 1)
            workers.process.terminate()
            assert workers.process.wait(_STOP_SECONDS) == 0
            # A gateway that waits for the byte says 408 in the end.
            assert raw.recv(65_536) == b""


def test_workers_end_when_their_supervisor_is_killed(fleet: Fleet) -> None:
    with running_workers(fleet) as workers:
        children = workers.pids()
        workers.process.kill()
        until(lambda: not any(Path(f"/proc/{child}").exists() for child in children))


@pytest.mark.parametrize(
    ("token", "complaint"),
    [("", "FORMFLOW_INTERNAL_TOKEN must be set"), (TOKEN, "cannot listen on 127.0.0.1:")],
    ids=["no token", "taken port"],
)
def test_a_mistake_is_one_line(fleet: Fleet, token: str, complaint: str, tmp_path: Path) -> None:
    settings = {"INTERNAL_TOKEN": token, "PORT": fleet.urls["backend"].rpartition(":")[2]}
    done = run_formflow("gateway", "--workers", "2", DATA_DIR=str(tmp_path), **settings)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert complaint in done.stderr


def _python(name: str, code: str) -> Child:
    return Child(name, [sys.executable, "-c", code], os.environ)


@pytest.mark.asyncio
async def test_a_child_that_never_served_is_a_failure() -> None:
    child = _python("thing", "raise SystemExit(3)")
    async with Supervisor([child]):
        with pytest.raises(ChildFailed, match=r"^the thing did not start \(exit 3\)$"):
            await child.served()


@pytest.mark.asyncio
async def test_a_child_that_is_not_there_is_a_failure() -> None:
    child = Child("thing", ["/no/such/command"], os.environ)
    async with Supervisor([child]):
        with pytest.raises(ChildFailed, match="No such file"):
            await child.served()


@pytest.mark.asyncio
async def test_a_child_that_served_once_is_started_again_without_end(tmp_path: Path) -> None:
    served_once = (
        "import pathlib, sys\n"
        f"marks = pathlib.Path({str(tmp_path / 'marks')!r})\n"
        "with marks.open('a') as file: file.write('x')\n"
        "if marks.stat().st_size == 1: print('serving', flush=True)\n"
        "sys.exit(1)\n"
    )
    child = _python("thing", served_once)
    async with Supervisor([child]):
        await child.served()
        async with asyncio.timeout(20):
            while (tmp_path / "marks").stat().st_size < 4:
                await asyncio.sleep(0.01)


@pytest.mark.asyncio
async def test_a_child_that_does_not_stop_is_killed() -> None:
    stubborn = "import signal; signal.signal(15, signal.SIG_IGN); print(flush=True); signal.pause()"
    child = _python("thing", stubborn)
    async with Supervisor([child]):
        await child.served()
        async with asyncio.timeout(20):
            await child.stop(0.2)
