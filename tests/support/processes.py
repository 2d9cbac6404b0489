"""``formflow up`` as a real process, with its children."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import orjson

from tests.support.patience import PatientTransport

_START_SECONDS = 60.0
_STOP_SECONDS = 35.0
FORMFLOW = (sys.executable, "-m", "formflow")


class Product:
    """One running ``formflow up``; start it again on the same directory with ``start``."""

    def __init__(self, data_dir: Path, **settings: str) -> None:
        self.data_dir = data_dir
        self.first: dict[str, Any] = {}
        self._settings = {"DATA_DIR": str(data_dir), "PORT": "0"} | settings
        self._process: subprocess.Popen[bytes] | None = None
        self._management_key = ""

    def start(self) -> "Product":
        """Returns once everything answers."""
        log = (self.data_dir.parent / "log").open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "formflow", "up", "--json"],
            env=clean_environment(**self._settings),
            stdout=subprocess.PIPE,
            stderr=log,
        )
        log.close()
        assert self._process.stdout is not None
        with self._process.stdout as stdout:
            line = stdout.readline()
        assert line, self.log
        self.first = orjson.loads(line)
        self._management_key = self.first.get("management_key", self._management_key)
        return self

    @property
    def url(self) -> str:
        return str(self.first["url"])

    @property
    def log(self) -> str:
        """What the processes wrote to stderr."""
        return (self.data_dir.parent / "log").read_text()

    def client(self, **headers: str) -> httpx.Client:
        """A client of the one URL."""
        return httpx.Client(base_url=self.url, headers=headers, timeout=20.0)

    def manager(self) -> httpx.Client:
        """A client with the first management key."""
        headers = {"authorization": f"Bearer {self._management_key}"}
        return httpx.Client(
            base_url=self.url, headers=headers, timeout=20.0, transport=PatientTransport()
        )

    def lift_rate_limit(self) -> None:
        """Lets one visitor post to the demo form as often as a test needs."""
        with self.manager() as manager:
            path = f"/v1/forms/{self.first['demo_form_id']}"
            manager.patch(path, json={"rate_limit_per_minute": 100_000}).raise_for_status()

    def submissions(self, form_id: str | None = None) -> list[dict[str, Any]]:
        """Every received submission of a form (the demo form by default), newest first."""
        path = f"/v1/forms/{form_id or self.first['demo_form_id']}/submissions"
        found: list[dict[str, Any]] = []
        cursor = ""
        with self.manager() as manager:
            while True:
                query = {"limit": "100"} | ({"cursor": cursor} if cursor else {})
                page = manager.get(path, params=query).raise_for_status().json()
                found += page["data"]
                cursor = page["next_cursor"]
                if not cursor:
                    return found

    def kill(self, service: str) -> None:
        """SIGKILL to one child; the supervisor starts it again."""
        os.kill(self.child(service), signal.SIGKILL)

    def kill_all(self) -> None:
        """SIGKILL to the children, then to the supervisor."""
        assert self._process is not None
        children = [self.child("gateway"), self.child("backend")]
        self._process.send_signal(signal.SIGSTOP)
        for child in children:
            os.kill(child, signal.SIGKILL)
        self.kill_supervisor()

    def kill_supervisor(self) -> None:
        """SIGKILL to the supervisor alone."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def terminate(self) -> None:
        """SIGTERM to the supervisor, without waiting."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.terminate()

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        assert self._process is not None
        self.terminate()
        return self._process.wait(_STOP_SECONDS)

    def child(self, service: str) -> int:
        """The process id of a child."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        for child in children.read_text().split():
            if service.encode() in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0"):
                return int(child)
        raise AssertionError(f"no {service} runs")


def clean_environment(**settings: str) -> dict[str, str]:
    """The environment without our settings, but for these."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FORMFLOW_")}
    return kept | {f"FORMFLOW_{name}": value for name, value in settings.items()}


def until(condition: Callable[[], bool], seconds: float = _START_SECONDS) -> None:
    """Waits for a condition; fails after the deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.01)


def run_formflow(
    *arguments: str, command: Sequence[str] = FORMFLOW, **settings: str
) -> subprocess.CompletedProcess[str]:
    """One call of the ``formflow`` command, or of what ``command`` has in its place."""
    return subprocess.run(
        [*command, *arguments],
        env=clean_environment(**settings),
        capture_output=True,
        text=True,
        timeout=_START_SECONDS,
        check=False,
    )
