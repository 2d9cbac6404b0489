"""What a figure depends on besides the program: the machine, and the versions of what it runs."""

import os
import platform
import sqlite3
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from contracts import VERSION
from loadtests import wrk
from loadtests.cores import generators_core
from loadtests.disk import filesystem_of, sync_ms

_PACKAGES = ("uvicorn", "uvloop", "httptools", "sqlalchemy", "aiosqlite")


def describe(directory: Path) -> dict[str, str]:
    """Name and value of each fact; ``directory`` is where the data of the runs is kept."""
    facts = {
        "cores": str(os.cpu_count()),
        "cpu": _cpu_model(),
        "kernel": platform.release(),
        "load before": f"{os.getloadavg()[0]:.2f}",
        "generator": "on a core of its own"
        if generators_core() is not None
        else "shares the cores",
        "driver": "wrk" if wrk.is_here() else "our own (this machine has no wrk)",
        "disk": f"{filesystem_of(directory)}, a 4 KiB sync takes {sync_ms(directory):.2f} ms",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "formflow": VERSION,
    }
    return facts | {name: _version(name) for name in _PACKAGES}


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
