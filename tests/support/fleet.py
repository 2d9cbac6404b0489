"""One backend and several gateways as real processes, each on a port of its own."""

import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from contracts import internal
from contracts.runtime.endpoints import parse_peer
from tests.support.patience import PatientTransport
from tests.support.processes import clean_environment, until

TOKEN = "an-internal-token-for-tests"
_STOP_SECONDS = 35.0


@dataclass
class Fleet:
    """The processes by name (``backend``, ``gateway-0``, …), and what the first start made."""

    directory: Path
    settings: dict[str, str]
    urls: dict[str, str] = field(default_factory=dict)
    first: dict[str, Any] = field(default_factory=dict)
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def gateways(self) -> list[str]:
        """The gateways' URLs."""
        return [url for name, url in self.urls.items() if name.startswith("gateway")]

    def manager(self) -> httpx.Client:
        """A client of the management API."""
        headers = {"authorization": f"Bearer {self.first['management_key']}"}
        return httpx.Client(
            base_url=self.urls["backend"],
            headers=headers,
            timeout=20.0,
            transport=PatientTransport(),
        )

    def internal(self) -> httpx.Client:
        """A client of the internal surface, where the gateways find it."""
        peer = parse_peer(self.settings.get("BACKEND_URL", self.urls["backend"]))
        return httpx.Client(
            base_url=peer.origin,
            headers={"authorization": f"Bearer {TOKEN}"},
            timeout=20.0,
            transport=httpx.HTTPTransport(uds=peer.socket_path),
        )

    def start(self, name: str) -> None:
        """Starts a process, on the port it had before if it ran before."""
        service = name.partition("-")[0]
        port = int(self.urls[name].rpartition(":")[2]) if name in self.urls else free_port()
        self.urls[name] = f"http://127.0.0.1:{port}"
        environment = {
            "DATA_DIR": str(self.directory / name),
            "INTERNAL_TOKEN": TOKEN,
            "SECRET_KEY": "a-secret-key-for-tests",
            "BACKEND_URL": self.urls["backend"],
            "PORT": str(port),
            "DRAIN_SECONDS": "0",
            "LOG_LEVEL": "warning",
        } | self.settings
        with (self.directory / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", "formflow", service],
                env=clean_environment(**environment),
                stderr=log,
            )
        until(lambda: self.is_ready(name))

    def is_ready(self, name: str) -> bool:
        """Whether the process takes work."""
        assert self._processes[name].poll() is None, self.log(name)
        with suppress(httpx.TransportError):
            return httpx.get(f"{self.urls[name]}/readyz", timeout=2.0).is_success
        return False

    def signal(self, name: str, number: signal.Signals) -> None:
        """Sends a signal to a process."""
        self._processes[name].send_signal(number)

    def kill(self, name: str) -> None:
        """SIGKILL, and waits for the end."""
        self._processes[name].kill()
        self._processes[name].wait()

    def pid(self, name: str) -> int:
        """The process id."""
        return self._processes[name].pid

    def log(self, name: str) -> str:
        """What a process wrote to stderr."""
        return (self.directory / f"{name}.log").read_text()

    def stop(self) -> None:
        """Ends all that run."""
        for process in reversed(self._processes.values()):
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in self._processes.values():
            process.wait(_STOP_SECONDS)


@contextmanager
def running_fleet(directory: Path, gateways: int, **settings: str) -> Iterator[Fleet]:
    """A started fleet with its first account, form (``demo``) and key."""
    fleet = Fleet(directory, settings)
    try:
        fleet.start("backend")
        with fleet.internal() as client:
            fleet.first = client.post(internal.BOOTSTRAP).raise_for_status().json()
        for number in range(gateways):
            fleet.start(f"gateway-{number}")
        yield fleet
    finally:
        fleet.stop()


def free_port() -> int:
    """A port that nothing listens on just now, and that the kernel gives to no connection: while
    its process is down, a client of it could be given that very port, and keep it."""
    ports = list(range(10_000, _ephemeral_ports_begin()))
    random.shuffle(ports)
    for port in ports:
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise OSError("no port is free")


def _ephemeral_ports_begin() -> int:
    return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])


def resident_bytes(pid: int) -> int:
    """The memory a process holds."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
