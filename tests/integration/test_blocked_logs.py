"""A log that nobody reads, or whose disk is full, stops nothing: not posts, and not the end."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from tests.faults.fleet import FaultyFleet, faulty_fleet, start_all

_POSTS = 200
# Before it would be ended by force.
_STOP_SECONDS = 25.0
_DROPPED = "formflow_log_lines_dropped_total"


@pytest.fixture
def full_pipe(tmp_path: Path) -> Iterator[Path]:
    """A pipe that takes nothing more, and that nobody reads."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    with suppress(BlockingIOError):
        while os.write(descriptor, bytes(65_536)):
            pass
    with suppress(BlockingIOError):
        while os.write(descriptor, bytes(1)):
            pass
    yield path
    os.close(descriptor)


@contextmanager
def _fleet_logging_to(path: Path, directory: Path) -> Iterator[FaultyFleet]:
    """A gateway and a backend that write each post, and all else, to that file."""
    with faulty_fleet(directory, gateways=1, LOG_LEVEL="debug") as fleet:
        for name in fleet.names:
            # Buffered, as stderr is by default, it has a lock that the end of Python waits for.
            script = f'unset PYTHONUNBUFFERED; exec "{sys.executable}" -m formflow "$0" 2>"{path}"'
            fleet.commands[name] = ["sh", "-c", script]
        start_all(fleet)
        yield fleet


def _post(fleet: FaultyFleet) -> None:
    with httpx.Client(base_url=fleet.gateways[0], timeout=20.0) as visitor:
        for number in range(_POSTS):
            answer = visitor.post("/v1/f/demo", data={"number": str(number)})
            assert answer.is_success, answer.text


def _lines_dropped(fleet: FaultyFleet, name: str) -> float:
    text = httpx.get(f"{fleet.urls[name]}/metrics", timeout=20.0).raise_for_status().text
    [line] = [line for line in text.splitlines() if line.startswith(f"{_DROPPED} ")]
    return float(line.split()[1])


def _stop(fleet: FaultyFleet, name: str) -> int | None:
    fleet.signal(name, signal.SIGTERM)
    return fleet.wait_for_end(name, _STOP_SECONDS)


def test_a_log_that_nobody_reads_stops_nothing(tmp_path: Path, full_pipe: Path) -> None:
    with _fleet_logging_to(full_pipe, tmp_path) as fleet:
        _post(fleet)
        assert {name: _lines_dropped(fleet, name) for name in fleet.names} == dict.fromkeys(
            fleet.names, 0.0
        )
        assert {name: _stop(fleet, name) for name in reversed(fleet.names)} == dict.fromkeys(
            fleet.names, 0
        )


def test_a_log_on_a_full_disk_stops_nothing_and_is_counted(tmp_path: Path) -> None:
    with _fleet_logging_to(Path("/dev/full"), tmp_path) as fleet:
        _post(fleet)
        assert _lines_dropped(fleet, "gateway-0") >= _POSTS
        assert _stop(fleet, "gateway-0") == 0
        assert _stop(fleet, "backend") == 0
