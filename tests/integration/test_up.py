"""``formflow up`` as its user meets it, and the commands beside it."""

import json
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.processes import Product, run_formflow, until


def test_a_first_start_says_all_that_is_needed_and_a_second_keeps_the_secret(
    product: Product,
) -> None:
    assert product.first["demo_form"] == "demo"
    assert product.first["owner_email"] == "owner@localhost"
    assert product.first["management_key"].startswith("ff_mgmt_")
    assert httpx.get(f"{product.url}/v1/health").json()["status"] == "ok"
    assert product.stop() == 0
    product.start()
    assert "management_key" not in product.first
    assert product.submissions() == []


def test_the_way_of_a_submission_through_the_api(product: Product) -> None:
    with product.manager() as manager:
        form = manager.post("/v1/forms", json={"name": "Contact us"}).json()
        posted = httpx.post(f"{product.url}/v1/f/{form['slug']}", data={"a": ["1", "2"], "b": "="})
        listed = manager.get(f"/v1/forms/{form['id']}/submissions").json()["data"]
        assert [item["id"] for item in listed] == [posted.json()["id"]]
        assert listed[0]["payload"] == {"a": ["1", "2"], "b": "="}
        assert [(row["check"], row["verdict"]) for row in listed[0]["trace"]["checks"]] == [
            ("form", "live"),
            ("key", "anonymous"),
            ("rate limit", "admitted"),
            ("body", "read"),
            ("honeypot", "clear"),
            ("uploads", "none"),
            ("quota", "open"),
        ]
        assert listed[0]["trace"]["charged"] == 1
        csv = manager.get(f"/v1/forms/{form['id']}/submissions.csv").text
        assert csv.splitlines()[0] == "id,received_at,status,a,b"
        one = f"/v1/submissions/{posted.json()['id']}"
        assert manager.delete(one).status_code == 204
        assert manager.get(one).status_code == 404


def test_a_change_acts_on_the_gateway_within_a_second(product: Product) -> None:
    url = f"{product.url}/v1/f/demo"
    form = f"/v1/forms/{product.first['demo_form_id']}"

    def status() -> int:
        return httpx.post(url, data={"a": "b"}).status_code

    with product.manager() as manager:
        assert status() == 200
        manager.patch(form, json={"status": "paused"}).raise_for_status()
        until(lambda: status() == 403, seconds=1)
        manager.patch(form, json={"status": "live"}).raise_for_status()
        until(lambda: status() == 200, seconds=1)
        manager.delete(form).raise_for_status()
        until(lambda: status() == 404, seconds=1)


def test_a_submission_key_posts_until_it_is_revoked(product: Product) -> None:
    with product.manager() as manager:
        key = manager.post("/v1/api-keys", json={"name": "k", "kind": "submission"}).json()
        with product.client(authorization=f"Bearer {key['key']}") as server:
            assert server.post("/v1/f/demo", json={"a": "b"}).status_code == 200
            assert product.submissions()[0]["meta"]["key_id"] == key["id"]
            manager.delete(f"/v1/api-keys/{key['id']}").raise_for_status()
            until(lambda: server.post("/v1/f/demo", json={}).status_code == 403, seconds=1)
            stored = len(product.submissions())
            assert server.post("/v1/f/demo", json={}).status_code == 403
    assert len(product.submissions()) == stored


def test_the_commands_work_on_the_data_directory_and_on_a_url(product: Product) -> None:
    data = ("--data", str(product.data_dir))
    url = ("--url", product.url, "--key", product.first["management_key"])
    slug = run_formflow("forms", "create", "From the shell", *data).stdout.strip()
    assert httpx.post(f"{product.url}/v1/f/{slug}", data={"a": "b"}).status_code == 200
    made = json.loads(run_formflow("keys", "create", "shell", "--json", *data).stdout)
    keys = json.loads(run_formflow("keys", "list", "--json", *url).stdout)
    assert made["id"] in [key["id"] for key in keys]
    assert run_formflow("keys", "revoke", made["id"], "--yes", *url).returncode == 0
    assert "revoked" in run_formflow("keys", "list", *data).stdout


@pytest.mark.parametrize(
    ("arguments", "settings", "complaint"),
    [
        (["up"], {"PROT": "80"}, "FORMFLOW_PROT: there is no such setting"),
        (["gateway"], {}, "FORMFLOW_INTERNAL_TOKEN must be set"),
        (["backend"], {"DATABASE_URL": "oracle://x"}, "FORMFLOW_DATABASE_URL: "),
        (["keys", "list", "--url", "http://127.0.0.1:9"], {}, "--url needs --key"),
        (["up", "--config", "/nowhere.toml"], {}, "--config /nowhere.toml: "),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str], settings: dict[str, str], complaint: str, tmp_path: Path
) -> None:
    done = run_formflow(*arguments, DATA_DIR=str(tmp_path / "data"), **settings)
    assert done.returncode == 1
    assert complaint in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run_formflow("up", DATA_DIR=str(tmp_path / "data"), PORT=port)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr


def test_two_products_do_not_share_a_data_directory(product: Product) -> None:
    done = run_formflow("up", DATA_DIR=str(product.data_dir), PORT="0")
    assert done.returncode == 1
    assert "another formflow up is running" in done.stderr


def test_secrets_are_readable_by_their_owner_only(product: Product) -> None:
    assert (product.data_dir / "internal-token").stat().st_mode & 0o777 == 0o600
    assert product.data_dir.stat().st_mode & 0o777 == 0o700


def test_no_log_line_shows_a_payload_a_key_or_a_token(product: Product) -> None:
    token = (product.data_dir / "internal-token").read_text()
    key = product.first["management_key"]
    headers = {"authorization": f"Bearer {key}"}
    httpx.post(f"{product.url}/v1/f/demo", data={"canary": "canary-value"}, headers=headers)
    httpx.post(f"{product.url}/v1/f/demo", data={"canary": "canary-value"})
    product.submissions()
    product.stop()
    assert '"event":"post"' in product.log
    assert not [secret for secret in (token, key, "canary") if secret in product.log]


def test_a_gateway_that_stops_says_so_first_and_finishes_what_it_took(tmp_path: Path) -> None:
    product = Product(tmp_path / "data").start()
    try:
        with _post_but_for_a_byte(product) as raw:
            gateway = product.child("gateway")
            until(lambda: httpx.get(f"{product.url}/livez").is_success)
            product.terminate()
            until(lambda: "stopping" in product.log)
            until(lambda: _refuses(product))
            raw.sendall(b"b")
            assert raw.recv(65_536).startswith(b"HTTP/1.1 200 ")
        assert product.stop() == 0
        assert not Path(f"/proc/{gateway}").exists()
    finally:
        product.stop()


def test_a_second_signal_stops_at_once(product: Product) -> None:
    with _post_but_for_a_byte(product) as raw:
        product.terminate()
        until(lambda: "stopping" in product.log)
        assert product.stop() == 0
        # A gateway that waits for the byte says 408 in the end.
        assert raw.recv(65_536) == b""


def test_a_child_that_cannot_restart_is_tried_again_and_nothing_changes(product: Product) -> None:
    product.lift_rate_limit()
    assert _posts(product)
    [stored] = product.submissions()
    secret = product.data_dir / "secret-key"
    secret.rename(product.data_dir / "away")
    product.kill("backend")
    until(lambda: len(_deaths(product)) >= 4)
    (product.data_dir / "away").rename(secret)
    until(lambda: _posts(product))
    deaths = _deaths(product)
    assert [death["pause_seconds"] for death in deaths[:4]] == [0.1, 0.2, 0.4, 0.8]
    assert [death["ended"] for death in deaths[:4]] == ["signal 9", *["exit 1"] * 3]
    assert _as_posted(product.submissions()[-1]) == _as_posted(stored)


def test_a_child_that_never_served_ends_it_all(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    done = run_formflow("up", DATA_DIR=str(data_dir), PORT="0", PLANS_FILE="/nowhere.toml")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.endswith("formflow: the backend did not start (exit 1)\n")


def _post_but_for_a_byte(product: Product) -> socket.socket:
    """A connection on which the body's last byte, ``b``, is still to come."""
    raw = socket.create_connection(("127.0.0.1", _port(product)))
    head = b"POST /v1/f/demo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n"
    raw.sendall(head + b"Content-Type: application/x-www-form-urlencoded\r\n\r\na=")
    assert httpx.get(f"{product.url}/livez").is_success
    return raw


def _posts(product: Product) -> bool:
    return httpx.post(f"{product.url}/v1/f/demo", data={"a": "b"}).status_code == 200


def _as_posted(submission: dict[str, Any]) -> dict[str, Any]:
    """What does not change once it is stored: its mail may have gone out since."""
    return {name: submission[name] for name in ("id", "form_id", "payload", "meta", "received_at")}


def _port(product: Product) -> int:
    return int(product.url.rpartition(":")[2])


def _refuses(product: Product) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", _port(product))) != 0


def _deaths(product: Product) -> list[dict[str, object]]:
    lines = [line for line in product.log.splitlines() if "child died, restarting" in line]
    return [json.loads(line) for line in lines if '"backend"' in line]
