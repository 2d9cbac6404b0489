"""The product under test: ``formflow up`` on an empty SQLite database, and what its parts cost."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson

from contracts.runtime.settings import child_environment

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Product:
    """A running product. ``processes`` maps ``gateway`` and ``backend`` to their process ids."""

    url: str
    form_id: str
    key: str
    processes: dict[str, int]

    def cpu_seconds(self) -> dict[str, float]:
        """The CPU time each process has used so far, user and system."""
        return {name: _cpu_seconds(pid) for name, pid in self.processes.items()}

    def stored(self) -> int:
        """The rows of the form, counted through the API's export."""
        path = f"{self.url}/v1/forms/{self.form_id}/submissions.csv"
        headers = {"authorization": f"Bearer {self.key}"}
        with httpx.stream("GET", path, headers=headers, timeout=120) as answer:
            answer.raise_for_status()
            return sum(1 for _ in answer.iter_lines()) - 1


@contextmanager
def running_product(directory: Path) -> Iterator[Product]:
    """Starts a product whose form takes as many posts as come."""
    environment = child_environment(trusted_proxies="127.0.0.1/32", log_level="warning")
    command = [sys.executable, "-m", "formflow", "up", "--json", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--data", str(directory)], env=environment, stdout=subprocess.PIPE
    )
    try:
        if process.stdout is None or not (line := process.stdout.readline()):
            raise RuntimeError("formflow up did not start; stderr says why")
        first: dict[str, Any] = orjson.loads(line)
        _lift_rate_limit(first)
        yield Product(
            first["url"], first["demo_form_id"], first["management_key"], _children(process.pid)
        )
    finally:
        process.terminate()
        process.wait(60)
        if process.stdout is not None:
            process.stdout.close()


def _lift_rate_limit(first: dict[str, Any]) -> None:
    httpx.patch(
        f"{first['url']}/v1/forms/{first['demo_form_id']}",
        json={"rate_limit_per_minute": 100_000},
        headers={"authorization": f"Bearer {first['management_key']}"},
    ).raise_for_status()


def _children(pid: int) -> dict[str, int]:
    found = {}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        arguments = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        found["gateway" if b"gateway" in arguments else "backend"] = int(child)
    return found


def _cpu_seconds(pid: int) -> float:
    # man 5 proc: fields 14 and 15, counted behind the name, which may hold spaces.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
