"""A fleet whose processes can be run under a fault: another command, other settings, signals."""

import asyncio
import http.client
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import orjson

from contracts import internal
from gateway.spool.directory import DATABASE
from gateway.spool.summary import SpoolSummary, inspect
from tests.support.fleet import TOKEN, Fleet, free_port
from tests.support.processes import clean_environment, until

START_SECONDS = 60.0
_PROBE_SECONDS = 2.0


@dataclass
class FaultyFleet(Fleet):
    """Processes by name, as in ``Fleet``.

    Assign to ``commands``, ``environments`` and ``overrides`` (settings), each by process name,
    before the start that they are for. ``management_keys`` are the forms' accounts', by slug.
    """

    commands: dict[str, list[str]] = field(default_factory=dict)
    environments: dict[str, dict[str, str]] = field(default_factory=dict)
    overrides: dict[str, dict[str, str]] = field(default_factory=dict)

    management_keys: dict[str, str] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The processes, the backend first."""
        return list(self.urls)

    def start(self, name: str) -> None:
        """Starts a process and returns once it is ready."""
        self.spawn(name)
        until(lambda: self.is_ready(name), START_SECONDS)

    def spawn(self, name: str) -> None:
        """Starts a process, on the port it had before if it ran before, without waiting."""
        port = self._port(name)
        settings = self._settings_of(name, port)
        command = self.commands.get(name) or [sys.executable, "-m", "formflow"]
        with (self.directory / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [*command, name.partition("-")[0]],
                env=clean_environment(**settings) | self.environments.get(name, {}),
                stdout=subprocess.DEVNULL,
                stderr=log,
            )

    def is_ready(self, name: str) -> bool:
        """Whether the process takes work. Fails if it has ended."""
        assert self.exit_status(name) is None, f"{name} ended: {self.log(name)[-2000:]}"
        return self.get(name, "/readyz")[0] == 200

    def get(self, name: str, path: str) -> tuple[int, bytes]:
        """Status and body of a GET; status 0 without an answer."""
        host, _, port = self.urls[name].removeprefix("http://").rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=_PROBE_SECONDS)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()

    def exit_status(self, name: str) -> int | None:
        """The exit status; None while it runs."""
        return self._processes[name].poll()

    def wait_for_end(self, name: str, seconds: float) -> int | None:
        """The exit status; None if it still runs after that time."""
        with suppress(subprocess.TimeoutExpired):
            return self._processes[name].wait(seconds)
        return None

    def stop(self) -> None:
        """SIGKILL to all that run: what is promised does not need a farewell."""
        for process in self._processes.values():
            if process.poll() is None:
                process.kill()
                process.wait()

    def restart_all(self) -> None:
        """Starts what does not run, lets go on what is paused, and waits until all are ready."""
        for name in self.names:
            if name in self._processes and self.exit_status(name) is None:
                self.signal(name, signal.SIGCONT)
            else:
                self.spawn(name)
        for name in self.names:
            until(lambda name=name: self.is_ready(name), START_SECONDS)  # type: ignore[misc]

    def spooled(self) -> int:
        """Submissions that wait in the gateways' spools, as their files say."""
        return sum(spool.count for spool in self.spools())

    def spools(self) -> list[SpoolSummary]:
        """What is in the gateways' spools."""
        databases = [path for name in self.names for path in self._spool_of(name).rglob(DATABASE)]
        return [inspect(path.parent) for path in databases]

    def until_drained(self, seconds: float) -> None:
        """Returns when nothing is spooled."""
        until(lambda: self.spooled() == 0, seconds)

    def bootstrap(self) -> None:
        """Makes the first account, its form and its key."""
        headers = {"authorization": f"Bearer {TOKEN}"}
        answer = httpx.post(
            self.urls["backend"] + internal.BOOTSTRAP, headers=headers, timeout=20.0
        )
        self.first = orjson.loads(answer.raise_for_status().content)
        self.management_keys["demo"] = self.first["management_key"]

    def lift_rate_limit(self) -> None:
        """Lets one visitor post to the demo form as often as a test needs."""
        with self.manager() as manager:
            path = f"/v1/forms/{self.first['demo_form_id']}"
            manager.patch(path, json={"rate_limit_per_minute": 100_000}).raise_for_status()

    def _spool_of(self, name: str) -> Path:
        settings = self._settings_of(name, 0)
        return Path(settings.get("SPOOL_DIR", f"{settings['DATA_DIR']}/spool"))

    def _port(self, name: str) -> int:
        port = int(self.urls[name].rpartition(":")[2]) if name in self.urls else free_port()
        self.urls[name] = f"http://127.0.0.1:{port}"
        return port

    def _settings_of(self, name: str, port: int) -> dict[str, str]:
        settings = {
            "DATA_DIR": str(self.directory / name),
            "INTERNAL_TOKEN": TOKEN,
            "SECRET_KEY": "a-secret-key-for-tests",
            "BACKEND_URL": self.urls["backend"],
            "PORT": str(port),
            "DRAIN_SECONDS": "0",
            "LOG_LEVEL": "warning",
            # Trials of revocation take a key each.
            "KEY_MINTS_PER_HOUR": "10000",
        }
        return settings | self.settings | self.overrides.get(name, {})


@contextmanager
def faulty_fleet(directory: Path, gateways: int = 2, **settings: str) -> Iterator[FaultyFleet]:
    """A fleet that nothing of runs yet; what runs at the end is killed."""
    directory.mkdir(parents=True, exist_ok=True)
    fleet = FaultyFleet(directory, settings)
    for name in ("backend", *(f"gateway-{number}" for number in range(gateways))):
        fleet.urls[name] = f"http://127.0.0.1:{free_port()}"
    try:
        yield fleet
    finally:
        fleet.stop()


def start_all(fleet: FaultyFleet) -> None:
    """Starts every process of a new fleet, with the demo form open to any number of posts."""
    fleet.start("backend")
    fleet.bootstrap()
    fleet.lift_rate_limit()
    fleet.restart_all()


async def in_thread_until_ready(fleet: FaultyFleet, name: str) -> float:
    """Starts a process beside the event loop; the seconds until it was ready."""
    started = asyncio.get_running_loop().time()
    await asyncio.to_thread(fleet.start, name)
    return asyncio.get_running_loop().time() - started
