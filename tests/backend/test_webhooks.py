"""Webhooks through the API."""

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import insert, select, update

from backend.access import EVERYTHING
from backend.delivery.attempts import Delivery
from backend.delivery.store import delivery_row
from backend.management import Services
from backend.sealing import Sealer
from backend.tables import audit_log, deliveries, delivery_attempts, webhooks
from backend.webhooks.sealed import WebhookSealer
from backend.webhooks.store import find_webhook
from contracts.problems import Rejected
from contracts.runtime.clock import iso
from contracts.runtime.settings import load_settings
from tests.backend.builders import Account, add_account, add_form, add_submission, create_form
from tests.backend.form_builders import reaching
from tests.backend.webhook_builders import CLOSED, create_webhook, delivery_of, sink
from tests.support.clock import ManualClock
from tests.support.webhook_sink import WebhookSink

__all__ = ["sink"]
pytestmark = pytest.mark.asyncio
TOKEN = "Bearer canary-of-the-receiver"
ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


async def stored(services: Services, id: str) -> Any:
    async with services.database.read() as connection:
        found = await connection.execute(select(webhooks).where(webhooks.c.id == id))
    return found.one()


async def set_stored(services: Services, id: str, **values: Any) -> None:
    async with services.database.write() as connection:
        await connection.execute(update(webhooks).where(webhooks.c.id == id).values(values))


async def add_delivery(services: Services, delivery: Delivery, status: str) -> None:
    now_ms = services.clock.now_ms()
    row = delivery_row(delivery, delivery.webhook_id or "", now_ms) | {"status": status}
    async with services.database.write() as connection:
        await connection.execute(insert(deliveries).values(row))


async def statuses(services: Services, webhook: dict[str, Any]) -> dict[str, str]:
    async with services.database.read() as connection:
        rows = await connection.execute(
            select(deliveries.c.id, deliveries.c.status).where(
                deliveries.c.webhook_id == webhook["id"]
            )
        )
    return {row.id: row.status for row in rows}


async def refused(answer: httpx.Response) -> tuple[int, str]:
    [error] = answer.json()["errors"]
    return answer.status_code, error["field"]


async def test_a_webhook_has_these_members_and_its_secret_only_at_first(
    client: httpx.AsyncClient, services: Services
) -> None:
    form = await create_form(client)
    created = await create_webhook(client, form["id"], headers={"Authorization": TOKEN})
    secret = created.pop("secret")
    assert secret.startswith("whsec_")
    assert created == {
        "id": created["id"],
        "form_id": form["id"],
        "url": CLOSED,
        "format": "formflow",
        "events": ["submission.created"],
        "enabled": True,
        "disabled_reason": None,
        "headers": {"Authorization": "…"},
        "last_delivery_at": None,
        "failing_since": None,
        "previous_secret_until": None,
        "created_at": "2026-05-28T20:26:40.000Z",
        "updated_at": "2026-05-28T20:26:40.000Z",
    }
    path = f"/v1/webhooks/{created['id']}"
    assert (await client.get(path)).json() == created
    changed = await client.patch(path, json={"events": ["submission.created"] * 2})
    assert changed.json() == created
    for listing in ("/v1/webhooks", f"/v1/forms/{form['id']}/webhooks"):
        assert (await client.get(listing)).json() == {"data": [created], "next_cursor": None}
    row = str(await stored(services, created["id"]))
    for canary in (secret, secret.removeprefix("whsec_"), TOKEN):
        assert canary not in row


async def test_the_list_is_paged_newest_first(client: httpx.AsyncClient) -> None:
    forms = [await create_form(client), await create_form(client)]
    made = [(await create_webhook(client, form["id"]))["id"] for form in forms * 2]
    found, cursor = [], ""
    while cursor is not None:
        page = (await client.get(f"/v1/webhooks?limit=3{cursor}")).json()
        found += [item["id"] for item in page["data"]]
        cursor = page["next_cursor"] and f"&cursor={page['next_cursor']}"
    assert sorted(found, reverse=True) == found
    assert sorted(found) == sorted(made)
    listed = (await client.get(f"/v1/forms/{forms[0]['id']}/webhooks")).json()["data"]
    assert {item["id"] for item in listed} == {made[0], made[2]}


async def test_a_form_has_twenty_webhooks_however_many_are_created_at_once(
    client: httpx.AsyncClient,
) -> None:
    form = await create_form(client)
    for _ in range(17):
        await create_webhook(client, form["id"])
    path, body = f"/v1/forms/{form['id']}/webhooks", {"url": CLOSED}
    answers = await asyncio.gather(*(client.post(path, json=body) for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [409] * 3
    await create_webhook(client, (await create_form(client))["id"])


@ON_SQLITE
@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"url": "ftp://example.com/"}, "url"),
        ({"url": "http://10.0.0.1/"}, "url"),
        ({"url": "https://user:password@example.com/"}, "url"),
        ({"url": "https://169.254.169.254/latest"}, "url"),
        ({"url": "https://example.com/" + "a" * 2_048}, "url"),
        ({"format": "teams"}, "format"),
        ({"format": "telegram"}, "url"),
        ({"events": []}, "events"),
        ({"events": ["webhook.test"]}, "events.0"),
        ({"secret": "mine"}, "secret"),
        ({"form_id": "frm_x"}, "form_id"),
        ({"headers": {f"x-{number}": "a" for number in range(9)}}, "headers"),
        ({"headers": {"x y": "a"}}, "headers.x y.[key]"),
        ({"headers": {"x:": "a"}}, "headers.x:.[key]"),
        ({"headers": {"Host": "a"}}, "headers"),
        ({"headers": {"Content-Encoding": "gzip"}}, "headers"),
        ({"headers": {"Transfer-Encoding": "chunked"}}, "headers"),
        ({"headers": {"X-FormFlow-Signature": "a"}}, "headers"),
        ({"headers": {"Webhook-Id": "a"}}, "headers"),
        ({"headers": {"x-a": "1", "X-A": "2"}}, "headers"),
        ({"headers": {"x-a": ""}}, "headers.x-a"),
        ({"headers": {"x-a": "…"}}, "headers.x-a"),
        ({"headers": {"x-a": "a\r\nx-b: c"}}, "headers.x-a"),
        ({"headers": {"x-a": "a\n"}}, "headers.x-a"),
        ({"headers": {"x-a": " a"}}, "headers.x-a"),
        ({"headers": {"x-a": "Zoë"}}, "headers.x-a"),
        ({"headers": {"x-a": "a" * 1_025}}, "headers.x-a"),
    ],
)
async def test_what_cannot_be_a_webhook_is_refused_by_name(
    client: httpx.AsyncClient, members: dict[str, Any], field: str
) -> None:
    form = await create_form(client)
    posted = await client.post(f"/v1/forms/{form['id']}/webhooks", json={"url": CLOSED} | members)
    assert await refused(posted) == (422, field)
    webhook = await create_webhook(client, form["id"])
    patched = await client.patch(f"/v1/webhooks/{webhook['id']}", json=members)
    assert await refused(patched) == (422, field)


@ON_SQLITE
async def test_telegram_needs_a_chat_whichever_of_both_is_changed(
    client: httpx.AsyncClient,
) -> None:
    form = await create_form(client)
    url = f"{CLOSED}/sendMessage?chat_id=-1"
    webhook = await create_webhook(client, form["id"], format="telegram", url=url)
    path = f"/v1/webhooks/{webhook['id']}"
    assert await refused(await client.patch(path, json={"url": CLOSED})) == (422, "url")
    both = await client.patch(path, json={"url": CLOSED, "format": "slack"})
    assert (both.json()["url"], both.json()["format"]) == (CLOSED, "slack")


async def test_a_patch_changes_what_it_names_and_all_of_the_headers(
    client: httpx.AsyncClient, services: Services, clock: ManualClock
) -> None:
    form = await create_form(client)
    created = await create_webhook(client, form["id"], headers={"x-a": "1", "x-b": "2"})
    del created["secret"]
    path = f"/v1/webhooks/{created['id']}"
    assert (await client.patch(path, json={})).json() == created
    clock.advance(1)
    changed = (await client.patch(path, json={"headers": {"x-c": "3"}})).json()
    new = {"headers": {"x-c": "…"}, "updated_at": "2026-05-28T20:26:41.000Z"}
    assert changed == created | new
    assert (await client.get(path)).json() == changed


async def test_what_is_pending_waits_for_a_disabled_webhook_and_goes_out_when_it_is_enabled(
    client: httpx.AsyncClient, services: Services, account: Account, clock: ManualClock
) -> None:
    form = await add_form(services, account)
    submission = await add_submission(services, form)
    webhook, other = [await create_webhook(client, form.id) for _ in range(2)]
    account_id = account.principal.account_id
    made = {
        status: delivery_of(services, account_id, webhook, submission)
        for status in ("pending", "delivered", "failed")
    }
    for status, delivery in made.items():
        await add_delivery(services, delivery, status)
    beside = delivery_of(services, account_id, other, submission)
    await add_delivery(services, beside, "pending")
    path = f"/v1/webhooks/{webhook['id']}"

    disabled = (await client.patch(path, json={"enabled": False})).json()
    assert disabled["disabled_reason"] == "It was disabled by hand."
    parked = await statuses(services, webhook)
    assert parked[made["pending"].id] == "parked"
    assert parked[made["failed"].id] == "failed"
    await set_stored(services, webhook["id"], failures_in_row=7, failing_since=1)
    again = (await client.patch(path, json={"enabled": False, "format": "slack"})).json()
    assert again["failing_since"] is not None

    clock.advance(60)
    enabled = (await client.patch(path, json={"enabled": True})).json()
    assert (enabled["disabled_reason"], enabled["failing_since"]) == (None, None)
    assert (await stored(services, webhook["id"])).failures_in_row == 0
    assert await statuses(services, webhook) == {
        delivery.id: status for status, delivery in made.items()
    }
    assert await statuses(services, other) == {beside.id: "pending"}
    async with services.database.read() as connection:
        due = select(deliveries.c.next_at).where(deliveries.c.id == made["pending"].id)
        assert (await connection.execute(due)).scalar_one() == clock.now_ms()


async def test_enabling_what_is_enabled_forgets_no_failure(
    client: httpx.AsyncClient, services: Services
) -> None:
    webhook = await create_webhook(client, (await create_form(client))["id"])
    await set_stored(services, webhook["id"], failures_in_row=3, failing_since=1)
    await client.patch(f"/v1/webhooks/{webhook['id']}", json={"enabled": True})
    assert (await stored(services, webhook["id"])).failures_in_row == 3


async def test_a_webhook_can_be_created_disabled(client: httpx.AsyncClient) -> None:
    webhook = await create_webhook(client, (await create_form(client))["id"], enabled=False)
    assert webhook["disabled_reason"] is not None


async def test_a_deleted_webhook_is_gone_with_its_deliveries_and_their_log(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    submission = await add_submission(services, form)
    webhook, other = [await create_webhook(client, form.id) for _ in range(2)]
    path = f"/v1/webhooks/{webhook['id']}"
    for tested in (webhook, other):
        assert (await client.post(f"/v1/webhooks/{tested['id']}/test")).status_code == 200
    pending = delivery_of(services, account.principal.account_id, webhook, submission)
    await add_delivery(services, pending, "pending")
    assert (await client.delete(path)).status_code == 204
    assert (await client.get(path)).status_code == 404
    assert (await client.delete(path)).status_code == 404
    assert await statuses(services, webhook) == {}
    async with services.database.read() as connection:
        log = (await connection.execute(select(delivery_attempts.c.delivery_id))).scalars().all()
    assert list(log) == list(await statuses(services, other))


async def test_the_deliveries_of_a_deleted_webhook_are_swept_however_many(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    submission = await add_submission(services, form)
    webhook, other = [await create_webhook(client, form.id) for _ in range(2)]
    account_id, now_ms = account.principal.account_id, services.clock.now_ms()
    rows = [
        delivery_row(delivery_of(services, account_id, of, submission), of["id"], now_ms)
        for of in [webhook] * 1_100 + [other]
    ]
    async with services.database.write() as connection:
        await connection.execute(insert(deliveries), rows)
    await client.delete(f"/v1/webhooks/{webhook['id']}")
    assert 0 < len(await statuses(services, webhook)) < 1_100
    await services.webhooks.sweep()
    assert await statuses(services, webhook) == {}
    assert len(await statuses(services, other)) == 1


async def test_the_webhooks_of_a_deleted_form_are_gone(
    client: httpx.AsyncClient, services: Services
) -> None:
    form = await create_form(client)
    webhook = await create_webhook(client, form["id"])
    assert (await client.delete(f"/v1/forms/{form['id']}")).status_code == 204
    assert (await client.get(f"/v1/webhooks/{webhook['id']}")).status_code == 404
    assert (await client.get(f"/v1/forms/{form['id']}/webhooks")).status_code == 404
    assert (await client.get("/v1/webhooks")).json()["data"] == []


async def test_a_webhook_beyond_reach_is_missing_like_another_accounts(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    webhook = await create_webhook(client, form.id)
    unseen = [
        reaching(account, environment="staging"),
        reaching(account, form_ids=frozenset({"frm_other"})),
        reaching(account, is_sandbox=True),
        (await add_account(services)).principal,
    ]
    service, id = services.webhooks, webhook["id"]
    for caller in unseen:
        attempts = (
            service.get(caller, id),
            service.change(caller, id, {"enabled": False}),
            service.rotate_secret(caller, id),
            service.delete(caller, id),
            service.test(caller, id),
            service.list(caller, form.id, None, 10),
        )
        for attempt in attempts:
            with pytest.raises(Rejected, match="not-found"):
                await attempt
        assert await service.list(caller, None, None, 10) == []
    assert (await client.get(f"/v1/webhooks/{id}")).json()["enabled"] is True
    seeing = reaching(account, environment="production", form_ids=frozenset({form.id}))
    assert [row.id for row in await service.list(seeing, None, None, 10)] == [id]


async def test_of_two_rotations_at_once_the_second_keeps_the_secret_of_the_first(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    webhook = await create_webhook(client, (await create_form(client))["id"])
    path = f"/v1/webhooks/{webhook['id']}/rotate-secret"
    answers = await asyncio.gather(client.post(path), client.post(path))
    until = iso(services.clock.now_ms() + 24 * 3600 * 1000)
    assert {answer.json()["previous_secret_until"] for answer in answers} == {until}
    made = {answer.json()["secret"] for answer in answers}
    async with services.database.read() as connection:
        account_id = account.principal.account_id
        row = await find_webhook(connection, account_id, EVERYTHING, webhook["id"])
    assert row is not None
    sealer = WebhookSealer(Sealer(services.settings))
    assert set(sealer.secrets_of(row, services.clock.now_ms())) == made


async def test_a_server_without_a_secret_key_has_no_webhooks(
    client: httpx.AsyncClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = await create_form(client)
    keyless = WebhookSealer(Sealer(load_settings(environ={})))
    monkeypatch.setattr(services.webhooks, "_sealer", keyless)
    answer = await client.post(f"/v1/forms/{form['id']}/webhooks", json={"url": CLOSED})
    assert answer.status_code == 409
    assert "FORMFLOW_SECRET_KEY" in answer.json()["detail"]


async def test_a_test_is_sent_signed_and_logged_and_tells_its_outcome(
    client: httpx.AsyncClient, services: Services, sink: WebhookSink
) -> None:
    form = await create_form(client)
    webhook = await create_webhook(
        client, form["id"], url=sink.url, headers={"Authorization": TOKEN}, enabled=False
    )
    outcome = (await client.post(f"/v1/webhooks/{webhook['id']}/test")).json()
    id = outcome["delivery_id"]
    assert outcome == {
        "delivery_id": id,
        "delivered": True,
        "status": 200,
        "duration_ms": 0,
        "error": None,
        "answer": "thank you",
    }
    assert sink.last.json == {
        "type": "webhook.test",
        "id": id,
        "created_at": "2026-05-28T20:26:40.000Z",
        "data": {"form_id": form["id"]},
    }
    assert sink.last.headers["authorization"] == TOKEN
    assert sink.last.headers["x-formflow-event"] == "webhook.test"
    async with services.database.read() as connection:
        row = (await connection.execute(select(deliveries))).one()
        log = (await connection.execute(select(delivery_attempts))).one()
        events = (await connection.execute(select(audit_log.c.action, audit_log.c.target))).all()
    assert (row.id, row.status, row.event, row.attempts) == (id, "delivered", "webhook.test", 1)
    assert (log.delivery_id, log.status, log.answer) == (id, 200, "thank you")
    assert TOKEN not in str(log)
    assert ("webhook.tested", webhook["id"]) in {tuple(event) for event in events}
    assert (await client.get(f"/v1/webhooks/{webhook['id']}")).json()["enabled"] is False


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (500, "the target answered 500"),
        (302, "the target answered 302, and redirects are not followed"),
        (410, "the target answered 410"),
        (None, None),
    ],
)
async def test_a_test_that_fails_says_why_and_changes_nothing(
    client: httpx.AsyncClient, sink: WebhookSink, status: int | None, error: str | None
) -> None:
    url = CLOSED if status is None else sink.url
    sink.status = status or 200
    webhook = await create_webhook(client, (await create_form(client))["id"], url=url)
    outcome = (await client.post(f"/v1/webhooks/{webhook['id']}/test")).json()
    assert (outcome["delivered"], outcome["status"]) == (False, status)
    assert outcome["error"] == error if error else outcome["error"]
    after = (await client.get(f"/v1/webhooks/{webhook['id']}")).json()
    assert {**after, "secret": webhook["secret"]} == webhook


async def test_a_webhook_is_tested_ten_times_a_minute(
    client: httpx.AsyncClient, clock: ManualClock
) -> None:
    form = await create_form(client)
    webhook, other = [await create_webhook(client, form["id"]) for _ in range(2)]
    path = f"/v1/webhooks/{webhook['id']}/test"
    for _ in range(10):
        assert (await client.post(path)).status_code == 200
        clock.advance(5)
    refused = await client.post(path)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "10")
    assert (await client.post(f"/v1/webhooks/{other['id']}/test")).status_code == 200
    clock.advance(10)
    assert (await client.post(path)).status_code == 200


async def test_what_is_done_to_webhooks_is_in_the_audit_log_without_secrets(
    client: httpx.AsyncClient, services: Services
) -> None:
    form = await create_form(client)
    url = "https://hooks.example.com/services/canary-path"
    created = await create_webhook(client, form["id"], url=url, headers={"x-a": TOKEN})
    path = f"/v1/webhooks/{created['id']}"
    await client.patch(path, json={"headers": {"x-a": f"{TOKEN}2"}})
    rotated = (await client.post(f"{path}/rotate-secret")).json()
    await client.delete(path)
    async with services.database.read() as connection:
        rows = (await connection.execute(select(audit_log).order_by(audit_log.c.id))).all()
    actions = [row.action for row in rows if row.target == created["id"]]
    done = ["changed", "created", "deleted", "secret_rotated"]
    assert sorted(actions) == [f"webhook.{verb}" for verb in done]
    for canary in (TOKEN, "canary-path", created["secret"], rotated["secret"]):
        assert canary not in str(rows)
    assert "hooks.example.com" in str(rows)
