"""What one attempt at a webhook sends, and what it makes of the answer."""

from dataclasses import replace
from typing import Any

import httpx
import orjson
import pytest
from sqlalchemy import delete

from backend.delivery.attempts import Attempt, Verdict
from backend.management import Services
from backend.sealing import Sealer
from backend.tables import submissions
from backend.webhooks.sealed import WebhookSealer
from backend.webhooks.sender import WebhookSender
from contracts.runtime.settings import load_settings
from tests.backend.builders import Account, add_form, add_submission
from tests.backend.file_builders import add_file_row, new_key, put
from tests.backend.webhook_builders import CLOSED, create_webhook, delivery_of, sink
from tests.support.clock import ManualClock
from tests.support.webhook_sink import WebhookSink

__all__ = ["sink"]
pytestmark = pytest.mark.asyncio
PAYLOAD = {
    "name": "Zoë 🦊",
    "note": 'a "b" \\ </script> \u2028 \0',
    "topic": ["ä", "b"],
    "empty": "",
}
TOKEN = "Bearer canary-of-the-receiver"


async def send(
    services: Services, account: Account, webhook: dict[str, Any], submission: str
) -> Attempt:
    delivery = delivery_of(services, account.principal.account_id, webhook, submission)
    return await services.webhook_sender.send(delivery, services.clock.now_ms())


async def test_the_body_is_compact_unescaped_and_in_order(
    client: httpx.AsyncClient, services: Services, account: Account, sink: WebhookSink
) -> None:
    form = await add_form(services, account)
    submission = await add_submission(services, form, payload=PAYLOAD)
    webhook = await create_webhook(client, form.id, url=sink.url)
    delivery = delivery_of(services, account.principal.account_id, webhook, submission)
    attempt = await services.webhook_sender.send(delivery, services.clock.now_ms())
    assert attempt.verdict is Verdict.DELIVERED
    assert sink.last.body.decode() == (
        f'{{"type":"submission.created","id":"{delivery.id}",'
        '"created_at":"2026-05-28T20:26:41.000Z",'
        f'"data":{{"submission_id":"{submission}","form_id":"{form.id}",'
        '"payload":{"name":"Zoë 🦊","note":"a \\"b\\" \\\\ </script> \u2028 \\u0000",'
        '"topic":["ä","b"],"empty":""}}}'
    )


async def test_files_come_with_links_that_work_without_a_credential(
    client: httpx.AsyncClient, services: Services, account: Account, sink: WebhookSink
) -> None:
    form = await add_form(services, account)
    submission = await add_submission(services, form)
    content = new_key()
    await put(services.files, content, b"%PDF")
    file_id = await add_file_row(services, submission, object_key=content)
    webhook = await create_webhook(client, form.id, url=sink.url)
    await send(services, account, webhook, submission)
    [file] = sink.last.json["data"]["files"]
    assert list(file) == ["id", "field", "name", "size", "content_type", "url"]
    assert file["id"] == file_id
    del client.headers["Authorization"]
    assert (await client.get(file["url"])).content == b"%PDF"


async def test_the_id_stays_across_attempts_and_the_rest_is_of_the_attempt(
    client: httpx.AsyncClient,
    services: Services,
    account: Account,
    clock: ManualClock,
    sink: WebhookSink,
) -> None:
    form = await add_form(services, account)
    submission = await add_submission(services, form)
    webhook = await create_webhook(client, form.id, url=sink.url)
    delivery = delivery_of(services, account.principal.account_id, webhook, submission)
    for number in (1, 2, 5):
        clock.advance(10)
        await services.webhook_sender.send(replace(delivery, attempt=number), clock.now_ms())
    assert {request.json["id"] for request in sink.received} == {delivery.id}
    assert {request.headers["webhook-id"] for request in sink.received} == {delivery.id}
    assert {request.headers["x-formflow-delivery"] for request in sink.received} == {delivery.id}
    attempts = [request.headers["x-formflow-attempt"] for request in sink.received]
    assert attempts == ["1", "2", "5"]
    assert len({request.json["created_at"] for request in sink.received}) == 3
    assert len({request.headers["webhook-timestamp"] for request in sink.received}) == 3


async def test_the_headers_are_ours_and_the_owners_whose_values_the_log_masks(
    client: httpx.AsyncClient, services: Services, account: Account, sink: WebhookSink
) -> None:
    form = await add_form(services, account)
    submission = await add_submission(services, form)
    webhook = await create_webhook(
        client, form.id, url=sink.url, headers={"Authorization": TOKEN, "X-Team": "a b"}
    )
    attempt = await send(services, account, webhook, submission)
    sent = sink.last.headers
    expected = {
        "content-type": "application/json",
        "user-agent": "FormFlow-Webhooks/1",
        "x-formflow-event": "submission.created",
        "x-formflow-attempt": "1",
        "authorization": TOKEN,
        "x-team": "a b",
    }
    assert expected.items() <= sent.items()
    assert attempt.request_url == sink.url
    logged = {name.lower(): value for name, value in (attempt.request_headers or {}).items()}
    assert logged["authorization"] == logged["x-team"] == "…"
    ours = {name for name in logged if name.startswith(("x-formflow", "webhook-"))}
    assert len(ours) == 7
    assert {name: logged[name] for name in ours} == {name: sent[name] for name in ours}


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Verdict.DELIVERED),
        (202, Verdict.DELIVERED),
        (204, Verdict.DELIVERED),
        (301, Verdict.FAILED),
        (304, Verdict.FAILED),
        (400, Verdict.FAILED),
        (404, Verdict.FAILED),
        (410, Verdict.GONE),
        (429, Verdict.FAILED),
        (500, Verdict.FAILED),
    ],
)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_only_2xx_acknowledges(
    client: httpx.AsyncClient,
    services: Services,
    account: Account,
    sink: WebhookSink,
    status: int,
    verdict: Verdict,
) -> None:
    form = await add_form(services, account)
    submission = await add_submission(services, form)
    webhook = await create_webhook(client, form.id, url=sink.url)
    sink.status, sink.answer = status, b"" if status in (204, 304) else b"\xff\0" + b"x" * 5_000
    attempt = await send(services, account, webhook, submission)
    assert (attempt.verdict, attempt.status) == (verdict, status)
    assert (attempt.error is None) == (verdict is Verdict.DELIVERED)
    if sink.answer:
        assert attempt.answer == "\ufffd\ufffd" + "x" * 4_094


async def test_what_cannot_be_reached_or_may_not_be_called_any_more_has_failed(
    client: httpx.AsyncClient, services: Services, account: Account, sink: WebhookSink
) -> None:
    form = await add_form(services, account)
    submission = await add_submission(services, form)
    closed = await create_webhook(client, form.id, url=CLOSED)
    assert (await send(services, account, closed, submission)).verdict is Verdict.FAILED
    listening = await create_webhook(client, form.id, url=sink.url)
    stricter = services.settings.model_copy(update={"webhook_allow_cidrs": ()})
    strict = type(services.outbound)(stricter)
    sealer = WebhookSealer(Sealer(services.settings))
    sender = WebhookSender(services.database, strict, sealer, services.links)
    delivery = delivery_of(services, account.principal.account_id, listening, submission)
    attempt = await sender.send(delivery, services.clock.now_ms())
    await strict.close()
    assert (attempt.verdict, sink.received) == (Verdict.FAILED, [])
    assert "FORMFLOW_WEBHOOK_ALLOW_CIDRS" in str(attempt.error)


@pytest.mark.parametrize("gone", ["webhook", "submission", "form", "account"])
async def test_what_is_gone_is_obsolete(
    client: httpx.AsyncClient, services: Services, account: Account, sink: WebhookSink, gone: str
) -> None:
    form = await add_form(services, account)
    submission = await add_submission(services, form)
    webhook = await create_webhook(client, form.id, url=sink.url)
    account_id = account.principal.account_id
    if gone == "webhook":
        await client.delete(f"/v1/webhooks/{webhook['id']}")
    elif gone == "form":
        await client.delete(f"/v1/forms/{form.id}")
    elif gone == "account":
        account_id = "acc_other"
    else:
        async with services.database.write() as connection:
            await connection.execute(delete(submissions))
    delivery = delivery_of(services, account_id, webhook, submission)
    attempt = await services.webhook_sender.send(delivery, services.clock.now_ms())
    assert (attempt.verdict, sink.received) == (Verdict.OBSOLETE, [])


async def test_nothing_but_a_test_goes_to_a_disabled_webhook(
    client: httpx.AsyncClient, services: Services, account: Account, sink: WebhookSink
) -> None:
    form = await add_form(services, account)
    submission = await add_submission(services, form)
    webhook = await create_webhook(client, form.id, url=sink.url, enabled=False)
    attempt = await send(services, account, webhook, submission)
    assert (attempt.verdict, attempt.error) == (Verdict.FAILED, "the webhook is disabled")
    assert sink.received == []


async def test_a_secret_sealed_with_another_key_fails_and_names_the_setting(
    client: httpx.AsyncClient, services: Services, account: Account, sink: WebhookSink
) -> None:
    form = await add_form(services, account)
    submission = await add_submission(services, form)
    webhook = await create_webhook(client, form.id, url=sink.url)
    other = WebhookSealer(Sealer(load_settings(environ={}, secret_key="another-key-altogether")))
    sender = WebhookSender(services.database, services.outbound, other, services.links)
    delivery = delivery_of(services, account.principal.account_id, webhook, submission)
    attempt = await sender.send(delivery, services.clock.now_ms())
    assert (attempt.verdict, sink.received) == (Verdict.FAILED, [])
    assert "FORMFLOW_SECRET_KEY" in str(attempt.error)


@pytest.mark.parametrize(
    ("format", "query", "text_of"),
    [
        ("slack", "", lambda body: body["text"]),
        ("discord", "", lambda body: body["embeds"][0]["title"]),
        ("telegram", "?chat_id=-100&message_thread_id=3", lambda body: body["text"]),
    ],
)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_chats_get_messages_and_pings_of_their_own_kind(
    client: httpx.AsyncClient,
    services: Services,
    account: Account,
    sink: WebhookSink,
    format: str,
    query: str,
    text_of: Any,
) -> None:
    form = await add_form(services, account, name="Contact us")
    submission = await add_submission(services, form, payload={"message": "Grüße"})
    webhook = await create_webhook(client, form.id, url=sink.url + query, format=format)
    assert (await send(services, account, webhook, submission)).verdict is Verdict.DELIVERED
    assert sink.last.target == f"/hook{query}"
    assert "New submission: Contact us" in text_of(sink.last.json)
    assert "Grüße" in sink.last.body.decode()
    assert (await client.post(f"/v1/webhooks/{webhook['id']}/test")).json()["delivered"]
    assert "A test of FormFlow" in text_of(sink.last.json)
    assert orjson.dumps(sink.last.json) == sink.last.body
