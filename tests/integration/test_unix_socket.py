"""The internal surface on an address of its own: a Unix socket, or another port."""

import http.client
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from contracts import internal
from tests.support.fleet import TOKEN, Fleet, free_port, running_fleet
from tests.support.processes import Product, run_formflow, until

_ROUTES = [
    ("POST", internal.SUBMISSIONS),
    ("POST", internal.LOOKUP),
    ("POST", internal.BOOTSTRAP),
    ("GET", f"{internal.CHANGES}?since=0&wait=0"),
    ("PUT", f"{internal.FILES}/a"),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the backend's socket is."""
    return tmp_path / "b.sock"


@contextmanager
def _fleet(directory: Path, path: Path, **settings: str) -> Iterator[Fleet]:
    """A fleet whose gateway finds its backend at the socket."""
    url = f"unix:{path}"
    with running_fleet(directory, 1, INTERNAL_LISTEN=url, BACKEND_URL=url, **settings) as fleet:
        with fleet.manager() as manager:
            form = f"/v1/forms/{fleet.first['demo_form_id']}"
            manager.patch(form, json={"rate_limit_per_minute": 100_000}).raise_for_status()
        yield fleet


def _post(url: str, text: str) -> httpx.Response:
    """A post with a file."""
    content = {"file": text.encode()}
    return httpx.post(f"{url}/v1/f/demo", data={"text": text}, files=content, timeout=20.0)


def _stored(fleet: Fleet) -> dict[str, Any]:
    with fleet.manager() as manager:
        page = manager.get(f"/v1/forms/{fleet.first['demo_form_id']}/submissions?limit=100")
        return {item["id"]: item for item in page.raise_for_status().json()["data"]}


def test_posts_travel_by_the_socket_and_outlive_the_backend(tmp_path: Path, path: Path) -> None:
    with _fleet(tmp_path, path) as fleet:
        answers = [_post(fleet.gateways[0], "before")]
        fleet.kill("backend")
        assert path.is_socket()
        answers += [_post(fleet.gateways[0], f"meanwhile {n}") for n in range(5)]
        fleet.start("backend")
        until(lambda: len(_stored(fleet)) == 6)
        answers.append(_post(fleet.gateways[0], "after"))
        stored = _stored(fleet)
        for answer in answers:
            submission = stored.pop(answer.json()["id"])
            [file] = submission["files"]
            address = f"/v1/submissions/{submission['id']}/files/{file['id']}"
            with fleet.manager() as manager:
                assert manager.get(address).text == submission["payload"]["text"]
    assert [answer.status_code for answer in answers] == [200, *([202] * 5), 200]
    assert stored == {}
    assert not path.exists()


def test_the_public_port_has_nothing_internal_and_the_socket_everything(
    tmp_path: Path, path: Path
) -> None:
    with _fleet(tmp_path, path) as fleet, fleet.internal() as inside:
        token = inside.headers["authorization"]
        with httpx.Client(
            base_url=fleet.urls["backend"], headers={"authorization": token}
        ) as outside:
            nowhere = outside.get("/nowhere").json()
            for method, route in _ROUTES:
                answer = outside.request(method, route)
                assert (answer.status_code, answer.json()) == (404, nowhere)
            assert outside.get("/v1/health").is_success
        for address in ("/readyz", "/metrics", "/v1/health"):
            assert inside.get(address).is_success
        assert inside.post(internal.LOOKUP, content=internal.encode_slugs(["demo"])).is_success
        for method, route in _ROUTES:
            headers = {"authorization": f"{token}x"}
            assert inside.request(method, route, headers=headers).status_code == 404
        # What the gateway passes on comes by the socket, too.
        key = {"authorization": f"Bearer {fleet.first['management_key']}"}
        assert httpx.get(f"{fleet.gateways[0]}/v1/forms", headers=key).is_success
        second = _backend(tmp_path / "second", INTERNAL_LISTEN=f"unix:{path}")
        complaint = f"formflow: cannot listen on unix:{path}: another process listens there\n"
        assert (second.returncode, second.stderr) == (1, complaint)
        assert _post(fleet.gateways[0], "still here").status_code == 200


def test_the_socket_drains_with_the_port(tmp_path: Path, path: Path) -> None:
    with _fleet(tmp_path, path, DRAIN_SECONDS="1") as fleet, fleet.internal() as inside:
        request = _new_form(fleet.first["management_key"])
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(request[:-1])
            # Once this connection is answered, the one before it has been accepted.
            assert inside.get("/livez").is_success
            fleet.signal("backend", signal.SIGTERM)
            until(lambda: inside.get("/readyz").status_code == 503)
            assert httpx.get(f"{fleet.urls['backend']}/readyz").status_code == 503
            until(lambda: not _is_listened_on(path))
            client.sendall(request[-1:])
            answer = http.client.HTTPResponse(client)
            answer.begin()
            assert answer.status == 201
            answer.close()
        ended = os.waitid(os.P_PID, fleet.pid("backend"), os.WEXITED | os.WNOWAIT)
        assert ended is not None
        assert (ended.si_code, ended.si_status) == (os.CLD_EXITED, 0)
        assert not path.exists()


def _new_form(key: str) -> bytes:
    body = b'{"name": "Last byte"}'
    head = [
        "POST /v1/forms HTTP/1.1",
        "Host: x",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        f"Authorization: Bearer {key}",
    ]
    return ("\r\n".join(head) + "\r\n\r\n").encode() + body


def _is_listened_on(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
        probe.connect(str(path))
        return True
    return False


def test_a_port_of_its_own_does_as_well(tmp_path: Path) -> None:
    port = free_port()
    settings = {
        "INTERNAL_LISTEN": f"0.0.0.0:{port}",
        "BACKEND_URL": f"http://127.0.0.1:{port}",
    }
    with running_fleet(tmp_path, 1, **settings) as fleet:
        answer = httpx.post(f"{fleet.gateways[0]}/v1/f/demo", data={"a": "b"})
        assert answer.status_code == 200
        headers = {"authorization": f"Bearer {TOKEN}"}
        outside = httpx.post(fleet.urls["backend"] + internal.LOOKUP, headers=headers)
        assert outside.status_code == 404
        taken = _backend(tmp_path / "second", INTERNAL_LISTEN=f"0.0.0.0:{port}")
        assert taken.returncode == 1
        assert (
            taken.stderr == f"formflow: cannot listen on 0.0.0.0:{port}: Address already in use\n"
        )


def test_one_command_runs_on_a_socket_and_doctor_asks_there(tmp_path: Path, path: Path) -> None:
    product = Product(tmp_path / "data", INTERNAL_LISTEN=f"unix:{path}").start()
    try:
        assert _post(product.url, "before").status_code == 200
        product.kill("backend")
        assert _post(product.url, "meanwhile").status_code in (200, 202)
        until(lambda: _stored_texts(product) == {"before", "meanwhile"})
        outside = str(product.first["backend_url"])
        assert httpx.get(f"{outside}/readyz").is_success
        data_dir = str(product.data_dir)
        assert _doctor(DATA_DIR=data_dir, BACKEND_URL=f"unix:{path}")["is_good"]
        for wrong in (
            {"BACKEND_URL": outside},
            {"BACKEND_URL": f"unix:{path}", "INTERNAL_TOKEN": f"{TOKEN}x"},
        ):
            finding = _doctor(DATA_DIR=data_dir, **wrong)
            assert not finding["is_good"]
            assert "FORMFLOW_INTERNAL_LISTEN" in finding["detail"]
    finally:
        assert product.stop() == 0
    assert not path.exists()


def _stored_texts(product: Product) -> set[str]:
    with suppress(httpx.HTTPError):
        return {item["payload"]["text"] for item in product.submissions()}
    return set()


def _doctor(**settings: str) -> dict[str, Any]:
    findings = json.loads(run_formflow("doctor", "--json", **settings).stdout)
    [finding] = [finding for finding in findings if finding["check"] == "backend"]
    return dict(finding)


def _backend(data_dir: Path, **settings: str) -> "subprocess.CompletedProcess[str]":
    return run_formflow(
        "backend", DATA_DIR=str(data_dir), PORT="0", INTERNAL_TOKEN=TOKEN, **settings
    )
