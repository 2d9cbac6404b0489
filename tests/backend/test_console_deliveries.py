"""The log of a webhook, and the story of each delivery."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
import pytest
import pytest_asyncio

from backend.delivery.attempts import Attempt, Delivery
from backend.delivery.delivery_store import DeliveryRow
from backend.forms.store import FormRow
from backend.management import Services
from contracts.ids import new_id
from tests.backend.builders import Account, add_account, add_form
from tests.backend.console_builders import Browser, browsing, text_of
from tests.backend.delivering import GOOD, all_are, always, delivering, eventually, statuses
from tests.backend.webhook_builders import create_webhook, sink
from tests.support.builders import submission
from tests.support.clock import ManualClock
from tests.support.webhook_sink import WebhookSink

__all__ = ["sink"]
pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
]
HOSTILE = '<script>alert("x")</script>'


@dataclass
class Owner:
    """Somebody with a form, whose webhook leads to the sink."""

    browser: Browser
    services: Services
    clock: ManualClock
    form: FormRow
    webhook: dict[str, Any]
    sink: WebhookSink

    @property
    def path(self) -> str:
        """The webhook's page."""
        return f"/webhooks/{self.webhook['id']}"

    async def receive(self, count: int = 1, payload: str = '{"email":"ada@example.com"}') -> None:
        """Stores submissions to the form, a second after each other."""
        for _ in range(count):
            self.clock.advance(1)
            now_ms = self.clock.now_ms()
            item = submission(
                id=new_id("sub", now_ms), form_id=self.form.id, received_at=now_ms, payload=payload
            )
            await self.services.intake.commit([item])

    async def deliver(self, status: str, count: int, attempts: int = 1) -> None:
        """Delivers until so many deliveries, which are all, have this status."""

        async def send(delivery: Delivery) -> Attempt:
            return await self.services.webhook_sender.send(delivery, self.clock.now_ms())

        async def is_done() -> bool:
            # Less than what a claim lasts, however slow the machine is.
            self.clock.advance(2)
            self.services.doorbell.ring()
            return await all_are(self.services, status, count)

        async with delivering(self.services, send, attempts=attempts):
            await eventually(is_done)

    async def ids(self) -> list[str]:
        """The ids of the deliveries, oldest first."""
        return sorted(await statuses(self.services))


@pytest_asyncio.fixture
async def owner(
    client: httpx.AsyncClient,
    services: Services,
    account: Account,
    clock: ManualClock,
    sink: WebhookSink,
) -> AsyncIterator[Owner]:
    form = await add_form(services, account, name="Contact us", notify_emails="")
    headers = {"authorization": "Bearer canary"}
    webhook = await create_webhook(client, form.id, url=sink.url, headers=headers)
    async with browsing(services, account) as browser:
        yield Owner(browser, services, clock, form, webhook, sink)


def live_part(page: str) -> str:
    """Where the open log asks for what has changed."""
    [path] = re.findall(r'data-live hx-get="([^"]+)"', page)
    return str(path).replace("&amp;", "&")


async def test_an_empty_log_says_what_will_stand_there(owner: Owner) -> None:
    page = await owner.browser.see(owner.path)
    assert "Nothing has been delivered yet" in page
    assert "authorization: …" in page
    assert "canary" not in page


async def test_the_log_shows_each_delivery_and_can_be_filtered(owner: Owner) -> None:
    await owner.receive()
    await owner.deliver("delivered", 1)
    page = (await owner.browser.get(owner.path)).text
    assert "Contact us" in page
    rows = [text_of(row) for row in re.findall(r"(?s)<tr>.*?</tr>", page)[1:]]
    assert any("Delivered 200" in row for row in rows)
    [delivered, *_] = await owner.ids()
    shown = {
        status: (await owner.browser.get(f"{owner.path}?status={status}")).text
        for status in ("delivered", "failed")
    }
    assert delivered in shown["delivered"]
    assert delivered not in shown["failed"]
    assert "None of the deliveries that are kept is failed." in text_of(shown["failed"])
    assert (await owner.browser.get(f"{owner.path}?status=nonsense")).status_code == 422


async def test_a_long_log_goes_on_on_the_next_page(owner: Owner) -> None:
    await owner.receive(51)
    await owner.deliver("delivered", 51)
    path = f"{owner.path}?status=delivered"
    first = (await owner.browser.get(path)).text
    [onward] = re.findall(r'href="([^"]+)" rel="next"', first)
    second = (await owner.browser.get(onward.replace("&amp;", "&"))).text
    oldest = (await owner.ids())[0]
    assert oldest not in first
    assert oldest in second
    assert f'href="{path}">Newest' in second
    # What is old does not change by itself.
    assert "data-live" not in second
    assert len(first.encode()) < 100_000


async def test_an_open_log_is_told_only_of_what_has_changed(owner: Owner) -> None:
    await owner.receive()
    await owner.deliver("delivered", 1)
    path = live_part((await owner.browser.get(owner.path)).text)
    assert (await owner.browser.get(path, **{"HX-Request": "true"})).status_code == 204
    await owner.receive(2)
    await owner.deliver("delivered", 3)
    changed = await owner.browser.get(path, **{"HX-Request": "true"})
    assert changed.status_code == 200
    assert "<html" not in changed.text
    assert changed.text.count('<tr class="new">') == 2
    assert "2 new deliveries" in text_of(changed.text)
    again = await owner.browser.get(live_part(changed.text), **{"HX-Request": "true"})
    assert again.status_code == 204


async def test_ticked_deliveries_are_sent_again(owner: Owner) -> None:
    await owner.receive(3)
    await owner.deliver("delivered", 3)
    ids = await owner.ids()
    answer = await owner.browser.post(f"{owner.path}/replay-ticked", {"id": ids[:2]})
    assert "On their way again: 2." in await owner.browser.see(answer.headers["location"])
    await owner.deliver("delivered", 5)
    sent = [request.json["data"]["submission_id"] for request in owner.sink.received]
    assert len(sent) == 5
    assert len(set(sent)) == 3
    nothing = await owner.browser.post(f"{owner.path}/replay-ticked")
    assert "Tick what is to be sent" in await owner.browser.see(nothing.headers["location"])
    assert len(await owner.ids()) == 5


async def test_a_period_is_sent_again(owner: Owner) -> None:
    await owner.receive(3)
    owner.sink.status = 500
    await owner.deliver("failed", 3)
    owner.sink.status = 200
    page = (await owner.browser.get(owner.path)).text
    [since] = re.findall(r'<option value="([^"]+)">The last 24 hours', page)
    fields = {"since": since, "which": "undelivered", "typed_since": "", "until": ""}
    answer = await owner.browser.post(f"{owner.path}/replay", fields)
    assert "On their way again: 3." in await owner.browser.see(answer.headers["location"])
    again = await owner.browser.post(f"{owner.path}/replay", fields)
    assert "There was nothing to send again." in await owner.browser.see(again.headers["location"])
    # A period that was typed, first one in which nothing came.
    typed = {"which": "all", "typed_since": "2001-01-01T00:00", "until": "2001-01-02T00:00"}
    none = await owner.browser.post(f"{owner.path}/replay", fields | typed)
    assert "There was nothing to send again." in await owner.browser.see(none.headers["location"])
    typed |= {"until": ""}
    everything = await owner.browser.post(f"{owner.path}/replay", fields | typed)
    assert "again: 3." in await owner.browser.see(everything.headers["location"])
    assert len(await owner.ids()) == 9


@pytest.mark.parametrize("field", ["typed_since", "until"])
async def test_a_time_that_is_none_is_refused_in_words(owner: Owner, field: str) -> None:
    fields = {"since": "2026-06-10T10:23:00.000Z", "which": "all", field: "yesterday"}
    answer = await owner.browser.post(f"{owner.path}/replay", fields)
    assert answer.status_code == 422
    assert "Give an ISO 8601 timestamp" in text_of(answer.text)


async def test_of_a_disabled_webhook_nothing_is_sent_again(
    owner: Owner, client: httpx.AsyncClient
) -> None:
    await owner.receive()
    await owner.deliver("delivered", 1)
    await client.patch(f"/v1/webhooks/{owner.webhook['id']}", json={"enabled": False})
    [id] = await owner.ids()
    assert "replay" not in (await owner.browser.get(owner.path)).text
    page = (await owner.browser.get(f"/deliveries/{id}")).text
    assert f"/deliveries/{id}/replay" not in page
    assert "The webhook is disabled" in text_of(page)
    for path, fields in (
        (f"/deliveries/{id}/replay", {}),
        (f"{owner.path}/replay-ticked", {"id": id}),
        (f"{owner.path}/replay", {"since": "2001-01-01T00:00:00Z", "which": "all"}),
    ):
        answer = await owner.browser.post(path, fields)
        assert answer.status_code == 409
        assert "is disabled: enable it first" in text_of(answer.text)
    assert await owner.ids() == [id]


async def test_a_delivery_tells_its_story(owner: Owner) -> None:
    owner.sink.status, owner.sink.answer = 500, HOSTILE.encode()
    await owner.receive(payload=orjson.dumps({"note": HOSTILE}).decode())
    await owner.deliver("failed", 1, attempts=2)
    [id] = await owner.ids()
    answer = await owner.browser.get(f"/deliveries/{id}")
    assert HOSTILE not in answer.text
    text = text_of(answer.text)
    for said in ("Attempt 1 : the target answered 500", "Attempt 2 : the target", "Given up"):
        assert said in text
    last = owner.sink.last
    assert f"x-formflow-signature: {last.headers['x-formflow-signature']}" in text
    assert "authorization: …" in text
    assert "canary" not in text
    assert HOSTILE in text
    assert last.json["data"]["submission_id"] in text
    assert "x-formflow-attempt: 2" in text
    assert "x-formflow-attempt: 1" in await owner.browser.see(f"/deliveries/{id}?attempt=1")
    for number in ("0", "3", "x", "-1", "9" * 30):
        answer = await owner.browser.get(f"/deliveries/{id}?attempt={number}")
        assert answer.status_code == 404


async def test_the_bytes_that_were_sent_can_be_had(owner: Owner) -> None:
    await owner.receive(payload=orjson.dumps({"note": f"ä\u2028 {HOSTILE}"}).decode())
    await owner.deliver("delivered", 1)
    [id] = await owner.ids()
    path = f"/deliveries/{id}/attempts/1/body"
    assert path in (await owner.browser.get(f"/deliveries/{id}")).text
    answer = await owner.browser.get(path)
    assert answer.content == owner.sink.last.body
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert (await owner.browser.get(f"/deliveries/{id}/attempts/2/body")).status_code == 404


async def test_a_long_body_is_shown_in_part(owner: Owner) -> None:
    await owner.receive(payload=orjson.dumps({"note": "<" * 60_000, "end": "canary"}).decode())
    await owner.deliver("delivered", 1)
    [id] = await owner.ids()
    answer = await owner.browser.get(f"/deliveries/{id}")
    assert len(answer.content) < 100_000
    assert "Download the bytes" in answer.text
    assert "Copy the bytes" not in answer.text
    body = await owner.browser.get(f"/deliveries/{id}/attempts/1/body")
    assert body.content == owner.sink.last.body


async def test_what_was_sent_of_a_deleted_submission_is_gone(
    owner: Owner, client: httpx.AsyncClient
) -> None:
    await owner.receive()
    await owner.deliver("delivered", 1)
    [id] = await owner.ids()
    submission_id = owner.sink.last.json["data"]["submission_id"]
    assert (await client.delete(f"/v1/submissions/{submission_id}")).status_code == 204
    assert (await owner.browser.get(f"/deliveries/{id}")).status_code == 404


async def test_a_delivery_is_sent_again(owner: Owner) -> None:
    await owner.receive()
    await owner.deliver("delivered", 1)
    [id] = await owner.ids()
    answer = await owner.browser.post(f"/deliveries/{id}/replay")
    page = (await owner.browser.get(answer.headers["location"])).text
    assert "Sending it again" in text_of(page)
    assert f'it repeats <a href="/deliveries/{id}"' in page
    await owner.deliver("delivered", 2)
    assert len(owner.sink.received) == 2


async def test_a_test_has_nothing_to_be_sent_again(owner: Owner, client: httpx.AsyncClient) -> None:
    tested = (await client.post(f"/v1{owner.path}/test")).json()["delivery_id"]
    log = (await owner.browser.get(owner.path)).text
    assert f"/deliveries/{tested}" in log
    assert f'value="{tested}"' not in log
    page = (await owner.browser.get(f"/deliveries/{tested}")).text
    assert f"/deliveries/{tested}/replay" not in page
    assert f'href="{owner.path}/test">Test again' in page
    assert (await owner.browser.post(f"/deliveries/{tested}/replay")).status_code == 404


async def test_a_mail_has_its_story_too(owner: Owner, services: Services, account: Account) -> None:
    form = await add_form(services, account, notify_emails="ada@example.com")
    now_ms = services.clock.now_ms()
    item = submission(id=new_id("sub", now_ms), form_id=form.id, received_at=now_ms)
    await services.intake.commit([item])
    found: list[DeliveryRow] = []

    async def is_delivered() -> bool:
        found[:] = (await services.deliveries.of_submissions([item.id]))[0].get(item.id, [])
        return [each.status for each in found] == ["delivered"]

    async with delivering(services, always(GOOD)):
        await eventually(is_delivered)
    id = found[0].id
    page = await owner.browser.see(f"/deliveries/{id}")
    assert "New submission to ada@example.com" in page
    assert "acknowledged" in page
    answer = await owner.browser.post(f"/deliveries/{id}/replay")
    assert answer.status_code == 303


async def test_who_may_only_read_sends_nothing_again(
    owner: Owner, services: Services, account: Account
) -> None:
    await owner.receive()
    await owner.deliver("delivered", 1)
    [id] = await owner.ids()
    async with browsing(services, account, "custom", ["webhooks:read"]) as reader:
        for path in (owner.path, f"/deliveries/{id}"):
            page = (await reader.get(path)).text
            assert "/replay" not in page
            assert "/submissions/sub_" not in page
        for path in (f"/deliveries/{id}/replay", f"{owner.path}/replay-ticked"):
            assert (await reader.post(path, {"id": id})).status_code == 403
        assert (await reader.post(f"{owner.path}/replay")).status_code == 403
    async with browsing(services, await add_account(services)) as stranger:
        assert (await stranger.get(f"/deliveries/{id}")).status_code == 404
        assert (await stranger.get(f"/deliveries/{id}/attempts/1/body")).status_code == 404
        assert (await stranger.post(f"/deliveries/{id}/replay")).status_code == 404
        ticked = await stranger.post(f"{owner.path}/replay-ticked", {"id": id})
        assert "nothing-to-replay" in ticked.headers["location"]
    assert await owner.ids() == [id]
    assert (await owner.browser.post(f"/deliveries/{id}/replay", {"csrf": ""})).status_code == 403
