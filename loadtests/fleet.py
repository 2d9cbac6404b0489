"""One backend and several gateways as processes of their own, to be stopped and started apart."""

import http.client
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

import httpx

from contracts import internal
from loadtests.management import Management
from loadtests.product import DEMO_PATH, environment_for, store_of
from loadtests.targets import Store, Target

_TOKEN = "the-internal-token-of-a-load-test"  # noqa: S105 -- of a product that lives for seconds
_SECRET_KEY = "the-secret-key-of-a-load-test"  # noqa: S105 -- likewise
_READY_SECONDS = 60.0
_STOP_SECONDS = 35.0
_POLL_SECONDS = 0.002


@dataclass
class Fleet:
    """The processes by name: ``backend``, ``gateway-0``, ``gateway-1``, …"""

    directory: Path
    store: Store
    origins: dict[str, str] = field(default_factory=dict)
    _processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    def start(self, name: str) -> float:
        """Starts a process, again on the port it had; returns the seconds until it is ready."""
        origin = self.origins.setdefault(name, f"http://127.0.0.1:{_free_port()}")
        environment = environment_for(
            self.directory,
            None,
            internal_token=_TOKEN,
            secret_key=_SECRET_KEY,
            backend_url=self.origins["backend"],
            port=str(urlsplit(origin).port),
            staging_dir=str(self.directory / name / "staging"),
            spool_dir=str(self.directory / name / "spool"),
            drain_seconds="0",
        )
        started = perf_counter()
        service = name.partition("-")[0]
        process = subprocess.Popen([sys.executable, "-m", "formflow", service], env=environment)
        self._processes[name] = process
        _wait_ready(process, origin)
        return perf_counter() - started

    def bootstrap(self) -> None:
        """Makes the first account and its demo form, which takes as many posts as come."""
        backend = self.origins["backend"]
        headers = {"authorization": f"Bearer {_TOKEN}"}
        answer = httpx.post(backend + internal.BOOTSTRAP, headers=headers, timeout=20.0)
        first: dict[str, Any] = answer.raise_for_status().json()
        Management(backend, first["management_key"]).open_form(first["demo_form_id"])

    def signal(self, name: str, number: signal.Signals) -> None:
        """Sends a signal to a process."""
        self._processes[name].send_signal(number)

    def kill(self, name: str) -> None:
        """SIGKILL, and waits for the end."""
        self._processes[name].kill()
        self._processes[name].wait()

    def gateways(self) -> list[str]:
        """The names of the gateways."""
        return [name for name in self.origins if name != "backend"]

    def target(self, gateway: str = "gateway-0") -> Target:
        """One gateway to post to, with the processes of all."""
        pids = tuple(self._processes[name].pid for name in self.gateways())
        processes = {"gateway": pids, "backend": (self._processes["backend"].pid,)}
        return Target("FormFlow", self.origins[gateway], DEMO_PATH, processes, self.store)

    def stop(self) -> None:
        """Ends all that run, the last started first."""
        for process in reversed(self._processes.values()):
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in self._processes.values():
            process.wait(_STOP_SECONDS)


@contextmanager
def running_fleet(directory: Path, gateways: int) -> Iterator[Fleet]:
    """A started fleet on an empty SQLite database."""
    fleet = Fleet(directory, store_of(directory / "data", None))
    try:
        fleet.start("backend")
        fleet.bootstrap()
        for number in range(gateways):
            fleet.start(f"gateway-{number}")
        yield fleet
    finally:
        fleet.stop()


def _wait_ready(process: "subprocess.Popen[bytes]", origin: str) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while not _is_ready(origin):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("a process of the fleet did not start; stderr says why")
        time.sleep(_POLL_SECONDS)


def _is_ready(origin: str) -> bool:
    parts = urlsplit(origin)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=2.0)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.client.OK
    except OSError:
        return False
    finally:
        connection.close()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
