"""``formflow probe`` on a running product: every hop that works, and every one that does not."""

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from tests.support.processes import Product, run_formflow, until
from tests.support.webhook_sink import WebhookSink, webhook_sink

SETTINGS = {
    "WEBHOOK_ALLOW_HTTP": "true",
    "WEBHOOK_ALLOW_CIDRS": "127.0.0.0/8",
    "DELIVERY_RETRY_SECONDS": "0.05",
    "DELIVERY_ATTEMPTS": "2",
}
FORM: dict[str, Any] = {
    "name": "Contact",
    "notify_emails": "owner@example.com",
    "allowed_origins": ["https://shop.example"],
    "rate_limit_per_minute": 1,
    "fields": [
        {"name": "email", "type": "email", "required": True},
        {"name": "zip", "required": True, "pattern": "[0-9]{5}"},
        {"name": "age", "type": "integer", "required": True, "min": 18},
    ],
    "enforce_fields": True,
}
Finished = subprocess.CompletedProcess[str]


@pytest.fixture
def product(tmp_path: Path) -> Iterator[Product]:
    """A running product whose deliveries fail soon."""
    running = Product(tmp_path / "data", **SETTINGS)
    try:
        yield running.start()
    finally:
        running.stop()


def create(product: Product, **members: Any) -> dict[str, Any]:
    """A form."""
    with product.manager() as manager:
        answer = manager.post("/v1/forms", json=FORM | members).raise_for_status()
        form: dict[str, Any] = answer.json()
        return form


def tell(product: Product, form: dict[str, Any], sink: WebhookSink) -> None:
    """Makes the sink a webhook of the form."""
    with product.manager() as manager:
        path = f"/v1/forms/{form['id']}/webhooks"
        manager.post(path, json={"url": sink.url}).raise_for_status()


async def probe(product: Product, *arguments: str) -> tuple[Finished, dict[str, Any]]:
    """What the command says, and the report that it prints."""
    access = {"URL": product.url, "KEY": product.first["management_key"]}
    done = await asyncio.to_thread(run_formflow, "probe", "contact", "--json", *arguments, **access)
    return done, orjson.loads(done.stdout)


def statuses(report: dict[str, Any]) -> list[tuple[str, str]]:
    return [(hop["hop"], hop["status"]) for hop in report["hops"]]


@pytest.mark.asyncio
async def test_every_hop_is_reported_and_the_canary_is_deleted(product: Product) -> None:
    form = create(product)
    async with webhook_sink() as sink:
        tell(product, form, sink)
        for _ in range(2):
            done, report = await probe(product)
            assert (done.returncode, done.stderr) == (0, "")
            assert sorted(statuses(report)) == [
                ("accept", "stored"),
                ("mail", "delivered"),
                ("store", "readable"),
                ("webhook", "delivered"),
            ]
            assert all(hop["ms"] >= 0 for hop in report["hops"])
        payload = sink.last.json["data"]["payload"]
    assert payload == {
        "email": "owner@example.com",
        "zip": "12345",
        "age": "18",
        "formflow_probe": report["marker"],
    }
    assert product.submissions(form["id"]) == []


@pytest.mark.asyncio
async def test_a_kept_canary_is_marked_and_costs_quota(product: Product) -> None:
    form = create(product)
    done, report = await probe(product, "--keep")
    assert done.returncode == 0, done.stderr
    [kept] = product.submissions(form["id"])
    assert kept["id"] == report["submission_id"]
    assert kept["meta"]["probe"] is True
    assert kept["trace"]["charged"] == 1
    with product.manager() as manager:
        day = manager.get("/v1/usage/daily").json()["data"][0]
        [event] = manager.get("/v1/audit-log", params={"action": "form.probed"}).json()["data"]
    assert (day["submissions"], day["probes"]) == (1, 1)
    assert event["target"] == form["id"]


@pytest.mark.asyncio
async def test_a_webhook_that_fails_is_named_with_its_error(product: Product) -> None:
    form = create(product)
    async with webhook_sink() as sink:
        tell(product, form, sink)
        sink.status = 500
        done, report = await probe(product)
    assert done.returncode == 1
    [hop] = [hop for hop in report["hops"] if hop["hop"] == "webhook"]
    assert (hop["status"], hop["attempts"]) == ("failed", 2)
    assert "500" in hop["error"]
    assert done.stderr.count("\n") == 1
    assert hop["target"] in done.stderr
    assert ("mail", "delivered") in statuses(report)


@pytest.mark.asyncio
async def test_a_delivery_that_takes_longer_than_the_timeout_is_pending(product: Product) -> None:
    form = create(product, notify_emails="")
    with socket.socket() as deaf:
        # Connections are taken by the kernel, and nobody answers.
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        tell(product, form, WebhookSink(url=f"http://127.0.0.1:{deaf.getsockname()[1]}/"))
        done, report = await probe(product, "--timeout", "1")
    assert done.returncode == 1
    assert statuses(report)[-1] == ("webhook", "pending")
    assert product.submissions(form["id"]) == []


def test_a_mail_server_that_is_away_is_named(tmp_path: Path) -> None:
    product = Product(tmp_path / "data", SMTP_URL="smtp://127.0.0.1:1").start()
    try:
        access = {"URL": product.url, "KEY": product.first["management_key"]}
        done = run_formflow("probe", "demo", "--json", "--timeout", "2", **access)
    finally:
        product.stop()
    [*_, mail] = orjson.loads(done.stdout)["hops"]
    assert (mail["hop"], mail["status"], mail["attempts"]) == ("mail", "pending", 0)
    assert done.returncode == 1
    assert "mail server" in done.stderr
    assert "FORMFLOW_SMTP_URL" in done.stderr


@pytest.mark.asyncio
async def test_a_paused_form_and_one_without_targets_are_told_apart(product: Product) -> None:
    form = create(product, notify_emails="")
    done, report = await probe(product)
    assert done.returncode == 0, done.stderr
    assert "no webhook" in report["notes"][0]
    with product.manager() as manager:
        manager.patch(f"/v1/forms/{form['id']}", json={"status": "paused"}).raise_for_status()
        until(lambda: httpx.post(f"{product.url}/v1/f/contact", json={}).status_code == 403)
    done, report = await probe(product)
    assert done.returncode == 1
    assert statuses(report) == [("accept", "refused")]
    assert "not taking submissions" in done.stderr


@pytest.mark.asyncio
async def test_a_required_file_is_sent(product: Product) -> None:
    create(product, fields=[{"name": "cv", "type": "file", "required": True}])
    done, report = await probe(product)
    assert done.returncode == 0, report


def test_while_the_backend_is_away_the_post_is_queued(product: Product) -> None:
    create(product, notify_emails="")
    # The gateway then knows the form; nothing else it needs is asked of the backend.
    assert httpx.post(f"{product.url}/v1/f/contact", json={}).status_code == 403
    backend = product.child("backend")
    os.kill(backend, signal.SIGSTOP)
    try:
        done = run_formflow(
            *("probe", "contact", "--json", "--timeout", "2", "--data", str(product.data_dir)),
            URL=product.url,
        )
    finally:
        os.kill(backend, signal.SIGCONT)
    report = orjson.loads(done.stdout)
    assert statuses(report) == [("accept", "queued"), ("store", "missing")]
    assert done.returncode == 1
    assert "cannot reach the backend" in done.stderr
    assert report["submission_id"] in report["notes"][0]


def test_without_a_gateway_the_address_is_named(product: Product) -> None:
    create(product)
    product.stop()
    done = run_formflow("probe", "contact", "--data", str(product.data_dir))
    assert done.returncode == 1
    assert f"{product.url}/v1/f/contact: unreachable" in done.stderr
