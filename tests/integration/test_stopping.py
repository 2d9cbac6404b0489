"""The end of a process within its time, whatever it waits for.

The time is half a minute; here it is some seconds, for which ``FORMFLOW_TEST_STOP_SECONDS`` stands
(28 is what the product takes), and draining takes all that the setting may ask for of it.
"""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from contracts.runtime.serving import STOP_SECONDS
from tests.faults.fleet import FaultyFleet, faulty_fleet, start_all

_SECONDS = float(os.environ.get("FORMFLOW_TEST_STOP_SECONDS", "9"))
# What the interpreter may take beside that, on a machine that does other things, too.
_GRACE_SECONDS = 2.0
_DRAIN_SECONDS_MAX = 20.0
_HURRY = f"""
import sys
from contracts.runtime import serving
from formflow.cli import main
serving.STOP_SECONDS = {_SECONDS}
main()
"""
_HANG = f"""
import threading
from gateway.config.snapshot import SnapshotFile
SnapshotFile.write = lambda *_: threading.Event().wait()
{_HURRY}
"""


@contextmanager
def _fleet(directory: Path, program: str) -> Iterator[FaultyFleet]:
    drain_seconds = _DRAIN_SECONDS_MAX - (STOP_SECONDS - _SECONDS)
    with faulty_fleet(directory, gateways=1) as fleet:
        fleet.commands["gateway-0"] = [sys.executable, "-c", program]
        fleet.overrides["gateway-0"] = {"DRAIN_SECONDS": str(max(0.0, drain_seconds))}
        start_all(fleet)
        yield fleet


@contextmanager
def _slow_client(url: str) -> Iterator[None]:
    """A post that comes just fast enough not to be cut, and has no end."""
    is_over = threading.Event()
    head = "POST /v1/f/demo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n"
    head += "Content-Type: application/x-www-form-urlencoded\r\n\r\n"

    def send_on(client: socket.socket) -> None:
        with suppress(OSError):
            client.sendall(head.encode())
            while not is_over.wait(0.1):
                client.sendall(b"a" * 500)

    with socket.create_connection(_address(url)) as client:
        thread = threading.Thread(target=send_on, args=(client,))
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()


def _post(url: str) -> threading.Thread:
    """A post that somebody else waits for."""

    def post() -> None:
        with suppress(OSError), socket.create_connection(_address(url)) as client:
            client.sendall(
                b"POST /v1/f/demo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n"
                b"Content-Type: application/x-www-form-urlencoded\r\n\r\na=b"
            )
            client.recv(65_536)

    thread = threading.Thread(target=post)
    thread.start()
    return thread


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 0


def _stop(fleet: FaultyFleet) -> float:
    """Ends the gateway; the seconds that it took."""
    signalled = time.monotonic()
    fleet.signal("gateway-0", signal.SIGTERM)
    assert fleet.wait_for_end("gateway-0", _SECONDS + _GRACE_SECONDS) == 0
    return time.monotonic() - signalled


def test_a_gateway_whose_backend_hangs_ends_by_itself(tmp_path: Path) -> None:
    with _fleet(tmp_path, _HURRY) as fleet, _slow_client(fleet.gateways[0]):
        fleet.signal("backend", signal.SIGSTOP)
        visitor = _post(fleet.gateways[0])
        _stop(fleet)
        visitor.join()
        assert "ended by force" not in fleet.log("gateway-0")


def test_a_gateway_whose_disk_hangs_is_ended_by_force(tmp_path: Path) -> None:
    with _fleet(tmp_path, _HANG) as fleet:
        assert _stop(fleet) > _SECONDS
        assert "ended by force" in fleet.log("gateway-0")
