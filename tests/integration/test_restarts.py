"""Stopping and starting again: in order, in time, and without a failed post.

``FORMFLOW_TEST_ROLLS=50`` rolls the two gateways as many times instead of once.
"""

import http.client
import os
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import orjson
import pytest

from tests.support.fleet import TOKEN, Fleet, running_fleet
from tests.support.haproxy import Haproxy, why_no_haproxy
from tests.support.processes import run_formflow, until

_ROLLS = int(os.environ.get("FORMFLOW_TEST_ROLLS", "1"))
_STOP_SECONDS = 30.0
_FORM = {"content-type": "application/x-www-form-urlencoded"}


class Load:
    """Clients that post one after the other and rest as long as each post took: half of what they
    could send. A failure is any answer but a 2xx, and none."""

    def __init__(self, url: str, clients: int = 4) -> None:
        self.acknowledged: list[str] = []
        self.failures: list[str] = []
        self._address = urlsplit(url).netloc
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._post_on) for _ in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        self.wait_for_more()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def wait_for_more(self) -> None:
        """Waits until more posts have been acknowledged."""
        enough = len(self.acknowledged) + 20
        until(lambda: len(self.acknowledged) >= enough)

    def _post_on(self) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=20.0)
        while not self._is_over.is_set():
            started = time.monotonic()
            try:
                self._post(connection)
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                connection.close()
            self._is_over.wait(time.monotonic() - started)
        connection.close()

    def _post(self, connection: http.client.HTTPConnection) -> None:
        connection.request("POST", "/v1/f/demo", "a=b", _FORM)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status in (200, 202):
            self.acknowledged.append(orjson.loads(body)["id"])
        else:
            self.failures.append(f"{answer.status} {body!r}")


@contextmanager
def _fleet(directory: Path, gateways: int) -> Iterator[Fleet]:
    """A fleet whose form takes as many posts as come."""
    with running_fleet(directory, gateways, DRAIN_SECONDS="1") as fleet:
        with fleet.manager() as manager:
            path = f"/v1/forms/{fleet.first['demo_form_id']}"
            manager.patch(path, json={"rate_limit_per_minute": 100_000}).raise_for_status()
        yield fleet


def _stored(fleet: Fleet) -> list[str]:
    path = f"/v1/forms/{fleet.first['demo_form_id']}/submissions.csv"
    with fleet.manager() as manager:
        return [line.partition(",")[0] for line in manager.get(path).text.splitlines()[1:]]


def _check_ledger(fleet: Fleet, load: Load) -> None:
    until(lambda: set(load.acknowledged) <= set(_stored(fleet)))
    stored = _stored(fleet)
    assert len(stored) == len(set(stored))


def _wait_for_end(fleet: Fleet, name: str, signalled: float) -> None:
    """The process ends by itself, well and in time."""
    ended = os.waitid(os.P_PID, fleet.pid(name), os.WEXITED | os.WNOWAIT)
    assert ended is not None
    assert (ended.si_code, ended.si_status) == (os.CLD_EXITED, 0)
    assert time.monotonic() - signalled < _STOP_SECONDS
    # It has ended: this only collects it.
    fleet.kill(name)


def _refuses(url: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(_address(url)) != 0


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 0


def _request(fleet: Fleet, name: str) -> bytes:
    """A post to a gateway, or to the backend's API."""
    if name == "backend":
        path, kind, body = "/v1/forms", "application/json", '{"name": "Last byte"}'
    else:
        path, kind, body = "/v1/f/demo", _FORM["content-type"], "a=b"
    head = [
        f"POST {path} HTTP/1.1",
        "Host: x",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        f"Authorization: Bearer {fleet.first['management_key']}",
    ]
    lines = head if name == "backend" else head[:-1]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


@pytest.mark.parametrize("name", ["gateway-0", "backend"])
def test_a_process_under_load_stops_in_order(tmp_path: Path, name: str) -> None:
    with _fleet(tmp_path, gateways=1) as fleet:
        url, request = fleet.urls[name], _request(fleet, name)
        with Load(fleet.gateways[0]) as load, socket.create_connection(_address(url)) as raw:
            raw.sendall(request[:-1])
            # Once this connection is answered, the one before it has been accepted.
            assert httpx.get(f"{url}/livez").is_success
            signalled = time.monotonic()
            fleet.signal(name, signal.SIGTERM)
            until(lambda: httpx.get(f"{url}/readyz").status_code == 503)
            until(lambda: _refuses(url))
            raw.sendall(request[-1:])
            assert raw.recv(65_536)[:12] in (b"HTTP/1.1 200", b"HTTP/1.1 201")
        _wait_for_end(fleet, name, signalled)
        fleet.start(name)
        _check_ledger(fleet, load)


@pytest.mark.parametrize("damage", ["newer", "garbage"])
def test_a_backend_that_cannot_start_ends(tmp_path: Path, damage: str) -> None:
    database = tmp_path / "formflow.db"
    if damage == "garbage":
        database.write_bytes(b"no database" * 1000)
    else:
        assert run_formflow("migrate", DATA_DIR=str(tmp_path)).returncode == 0
        with sqlite3.connect(database) as connection:
            connection.execute("UPDATE alembic_version SET version_num = '9999'")
            # Newer alone it may be, unless it needs newer code.
            connection.execute("UPDATE schema_floor SET revision = '9999'")
        connection.close()
    before = database.read_bytes()
    settings = {"DATA_DIR": str(tmp_path), "INTERNAL_TOKEN": TOKEN, "PORT": "0"}
    done = run_formflow("backend", SECRET_KEY="a-secret-key-for-tests", **settings)
    assert done.returncode == 1
    assert database.read_bytes() == before


@pytest.mark.timeout(120 + 30 * _ROLLS)
def test_a_rolling_restart_fails_no_post(tmp_path: Path) -> None:
    reason = why_no_haproxy()
    if reason is not None:
        pytest.skip(reason)
    with _fleet(tmp_path, gateways=2) as fleet, Haproxy(fleet).running() as proxy:
        with Load(proxy.url) as load:
            for name in ["gateway-0", "gateway-1"] * _ROLLS:
                _roll(fleet, proxy, name)
                load.wait_for_more()
        assert load.failures == []
        _check_ledger(fleet, load)


def _roll(fleet: Fleet, proxy: Haproxy, name: str) -> None:
    signalled = time.monotonic()
    fleet.signal(name, signal.SIGTERM)
    _wait_for_end(fleet, name, signalled)
    fleet.start(name)
    until(lambda: proxy.is_up(name))
