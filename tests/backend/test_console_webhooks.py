"""The pages on webhooks."""

import re
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import update

from backend.console.webhooks.verifiers import verifiers
from backend.management import Services
from backend.tables import webhooks
from tests.backend.builders import Account, add_account, add_form, create_form
from tests.backend.console_builders import Browser, browsing, text_of
from tests.backend.delivering import add_webhook
from tests.backend.webhook_builders import CLOSED, create_webhook, sink
from tests.support.clock import ManualClock
from tests.support.webhook_sink import WebhookSink

__all__ = ["sink"]
pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
]
SECRET = re.compile(r"whsec_[A-Za-z0-9+/]{43}=")


@pytest_asyncio.fixture
async def browser(services: Services, account: Account) -> Any:
    async with browsing(services, account) as signed_in:
        yield signed_in


@pytest_asyncio.fixture
async def webhook(client: httpx.AsyncClient, sink: WebhookSink) -> dict[str, Any]:
    form = await create_form(client, name="Contact us")
    return await create_webhook(client, form["id"], url=sink.url)


async def read(client: httpx.AsyncClient, webhook: dict[str, Any]) -> dict[str, Any]:
    """The webhook as the API has it."""
    document: dict[str, Any] = (await client.get(f"/v1/webhooks/{webhook['id']}")).json()
    return document


async def store(services: Services, webhook: dict[str, Any], **values: Any) -> None:
    async with services.database.write() as connection:
        statement = update(webhooks).where(webhooks.c.id == webhook["id"]).values(values)
        await connection.execute(statement)


async def test_without_webhooks_the_list_says_what_they_are_for(browser: Browser) -> None:
    page = await browser.see("/webhooks")
    assert "No webhook yet" in page
    assert "Slack, Discord or Telegram" in page
    assert "Begin with a form" in await browser.see("/webhooks/new")


async def test_the_list_shows_all_webhooks_and_those_of_a_form(
    browser: Browser, client: httpx.AsyncClient, services: Services, webhook: dict[str, Any]
) -> None:
    other = await create_form(client, name="Newsletter")
    url = "https://hooks.slack.com/services/canary"
    chat = await create_webhook(client, other["id"], url=url, format="slack", enabled=False)
    await store(services, webhook, failing_since=services.clock.now_ms())
    page = await browser.see("/webhooks")
    for shown in ("Contact us", "Newsletter", "hooks.slack.com", "Slack", "Failing", "Disabled"):
        assert shown in page
    assert "It was disabled by hand." in page
    assert "canary" not in page
    of_form = (await browser.get(f"/forms/{other['id']}/webhooks")).text
    assert chat["id"] in of_form
    assert webhook["id"] not in of_form


async def test_a_long_list_goes_on_on_the_next_page(
    browser: Browser, services: Services, account: Account, clock: ManualClock
) -> None:
    form = await add_form(services, account)
    made = []
    for _ in range(51):
        clock.advance(1)
        made.append(await add_webhook(services, form))
    first = (await browser.get("/webhooks")).text
    [onward] = re.findall(r'href="(/webhooks\?cursor=[^"]+)"', first)
    second = (await browser.get(onward)).text
    assert [id for id in made if id in first] == made[1:]
    assert [id for id in made if id in second] == made[:1]
    assert 'href="/webhooks">Newest' in second


async def test_creating_one_shows_its_secret_once(
    browser: Browser, client: httpx.AsyncClient, sink: WebhookSink
) -> None:
    form = await create_form(client, name="Contact us")
    assert "Contact us" in await browser.see(f"/webhooks/new?form_id={form['id']}")
    answer = await browser.post(
        "/webhooks/new",
        {
            "form_id": form["id"],
            "url": sink.url,
            "format": "formflow",
            "header_name": ["Authorization", "", "X-Team"],
            "header_value": ["Bearer canary", "", "red"],
        },
    )
    assert answer.status_code == 201
    [secret] = set(SECRET.findall(answer.text))
    assert "It is not shown again" in text_of(answer.text)
    [made] = (await client.get("/v1/webhooks")).json()["data"]
    assert (made["url"], made["format"]) == (sink.url, "formflow")
    assert set(made["headers"]) == {"Authorization", "X-Team"}
    for page in ("", "/settings", "/test"):
        shown = (await browser.get(f"/webhooks/{made['id']}{page}")).text
        assert secret not in shown
        assert "canary" not in shown


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"url": "http://10.0.0.1/"}, "This target may not be called"),
        ({"url": ""}, "URL"),
        ({"format": "telegram"}, "One for Telegram names the chat"),
        ({"header_name": "Host", "header_value": "x"}, "The header Host is set by FormFlow."),
        ({"header_name": "bad name", "header_value": "x"}, "A name is letters, digits"),
        ({"header_name": "X-A", "header_value": ""}, "Type its value"),
        ({"header_name": "", "header_value": "x"}, "A name is letters, digits"),
        (
            {"header_name": ["X-A", "X-A"], "header_value": ["1", "2"]},
            "One of the headers is there twice.",
        ),
        (
            {"header_name": ["X-A", "x-a"], "header_value": ["1", "2"]},
            "The header x-a is there twice.",
        ),
    ],
)
async def test_what_is_wrong_is_said_and_what_was_typed_stays(
    browser: Browser, client: httpx.AsyncClient, fields: dict[str, Any], said: str
) -> None:
    form = await create_form(client)
    given = {"form_id": form["id"], "url": CLOSED, "format": "formflow"} | fields
    answer = await browser.post("/webhooks/new", given)
    assert answer.status_code == 422
    assert said in text_of(answer.text)
    assert f'value="{given["url"]}"' in answer.text
    for name in {"header_name", "header_value"} & set(fields):
        for value in fields[name] if isinstance(fields[name], list) else [fields[name]]:
            assert f'value="{value}"' in answer.text
    assert (await client.get("/v1/webhooks")).json()["data"] == []


async def test_a_form_that_is_not_among_the_newest_can_be_chosen(
    browser: Browser,
    client: httpx.AsyncClient,
    services: Services,
    account: Account,
    clock: ManualClock,
) -> None:
    oldest = await create_form(client, name="The oldest")
    clock.advance(1)
    for number in range(100):
        await add_form(services, account, name=f"Form {number}")
    assert "The oldest" not in await browser.see("/webhooks/new")
    page = await browser.get(f"/webhooks/new?form_id={oldest['id']}")
    assert f'value="{oldest["id"]}" selected>The oldest' in page.text
    # Names are found however old the form is.
    await create_webhook(client, oldest["id"])
    assert "The oldest" in await browser.see("/webhooks")


async def test_changing_where_it_leads(
    browser: Browser, client: httpx.AsyncClient, webhook: dict[str, Any]
) -> None:
    path = f"/webhooks/{webhook['id']}/settings"
    assert webhook["url"] in (await browser.get(path)).text
    answer = await browser.post(path, {"url": CLOSED, "format": "slack"})
    assert answer.headers["location"] == f"{path}?notice=saved"
    changed = await read(client, webhook)
    assert (changed["url"], changed["format"]) == (CLOSED, "slack")
    refused = await browser.post(path, {"url": "ftp://example.com/", "format": "slack"})
    assert refused.status_code == 422
    assert "This target may not be called" in text_of(refused.text)
    assert 'value="ftp://example.com/"' in refused.text
    assert (await read(client, webhook))["url"] == CLOSED


async def test_headers_are_replaced_as_a_whole(
    browser: Browser, client: httpx.AsyncClient, webhook: dict[str, Any]
) -> None:
    await client.patch(f"/v1/webhooks/{webhook['id']}", json={"headers": {"x-old": "canary"}})
    path = f"/webhooks/{webhook['id']}"
    page = (await browser.get(f"{path}/settings")).text
    assert 'value="x-old"' in page
    assert "canary" not in page
    untyped = {"header_name": ["x-old", "x-new"], "header_value": ["", "b"]}
    refused = await browser.post(f"{path}/headers", untyped)
    assert refused.status_code == 422
    assert "Type its value" in text_of(refused.text)
    assert list((await read(client, webhook))["headers"]) == ["x-old"]
    typed = {"header_name": ["", "x-new"], "header_value": ["", "b"]}
    assert (await browser.post(f"{path}/headers", typed)).status_code == 303
    assert list((await read(client, webhook))["headers"]) == ["x-new"]
    assert (await browser.post(f"{path}/headers")).status_code == 303
    assert (await read(client, webhook))["headers"] == {}


async def test_disabling_and_enabling(
    browser: Browser, client: httpx.AsyncClient, webhook: dict[str, Any]
) -> None:
    path = f"/webhooks/{webhook['id']}"
    answer = await browser.post(f"{path}/disable")
    page = await browser.see(answer.headers["location"])
    assert "parked until you enable it again" in page
    assert "Nothing is sent. It was disabled by hand." in page
    assert not (await read(client, webhook))["enabled"]
    answer = await browser.post(f"{path}/enable")
    page = await browser.see(answer.headers["location"])
    assert "Enabled: what was parked goes out." in page
    assert "Nothing is sent." not in page
    assert (await read(client, webhook))["enabled"]


async def test_of_a_test_form_it_is_said_that_nothing_is_delivered(
    browser: Browser, client: httpx.AsyncClient, webhook: dict[str, Any]
) -> None:
    path = f"/webhooks/{webhook['id']}"
    assert "is a test form" not in await browser.see(path)
    await client.patch(f"/v1/forms/{webhook['form_id']}", json={"mode": "test"})
    assert "Contact us is a test form" in await browser.see(path)


async def test_a_failing_one_says_since_when(
    browser: Browser, services: Services, webhook: dict[str, Any]
) -> None:
    await store(services, webhook, failing_since=1_781_086_980_000)
    page = (await browser.get(f"/webhooks/{webhook['id']}")).text
    assert "It has failed since 2026-06-10 10:23 UTC" in text_of(page)
    assert 'value="2026-06-10T10:23:00.000Z">Since it began to fail' in page


async def test_a_rotation_shows_the_secret_once_and_says_until_when_both_sign(
    browser: Browser, client: httpx.AsyncClient, clock: ManualClock, webhook: dict[str, Any]
) -> None:
    path = f"/webhooks/{webhook['id']}"
    assert "24 hours" in await browser.see(f"{path}/rotate-secret")
    answer = await browser.post(f"{path}/rotate-secret")
    assert answer.status_code == 200
    [secret] = set(SECRET.findall(answer.text))
    assert secret != webhook["secret"]
    until = (await read(client, webhook))["previous_secret_until"]
    assert until in answer.text
    settings = (await browser.get(f"{path}/settings")).text
    assert secret not in settings
    assert until in settings
    assert "A rotation is under way already" in await browser.see(f"{path}/rotate-secret")
    clock.advance(24 * 3600)
    assert until not in (await browser.get(f"{path}/settings")).text


async def test_deleting_asks_first_and_says_what_is_lost(
    browser: Browser, client: httpx.AsyncClient, webhook: dict[str, Any]
) -> None:
    path = f"/webhooks/{webhook['id']}/delete"
    page = await browser.see(path)
    assert "the log of all its deliveries" in page
    assert (await client.get(f"/v1/webhooks/{webhook['id']}")).status_code == 200
    answer = await browser.post(path)
    assert "The webhook is deleted" in await browser.see(answer.headers["location"])
    assert (await client.get(f"/v1/webhooks/{webhook['id']}")).status_code == 404
    assert (await browser.post(path)).status_code == 404


async def test_a_test_shows_what_was_sent_beside_what_came_back(
    browser: Browser, sink: WebhookSink, webhook: dict[str, Any]
) -> None:
    path = f"/webhooks/{webhook['id']}/test"
    assert "Send a test" in await browser.see(path)
    sink.answer = b"<b>thank</b> you"
    answer = await browser.post(path)
    page = (await browser.get(answer.headers["location"])).text
    text = text_of(page)
    assert "It works" in text
    assert sink.last.json["type"] == "webhook.test"
    for sent in (sink.url, sink.last.headers["x-formflow-signature"], sink.last.json["id"]):
        assert sent in text
    assert "&lt;b&gt;thank&lt;/b&gt; you" in page
    sink.status = 503
    answer = await browser.post(path)
    text = await browser.see(answer.headers["location"])
    assert "It does not work yet" in text
    assert "The target answered 503." in text


async def test_a_test_that_reaches_nobody_says_so(
    browser: Browser, client: httpx.AsyncClient
) -> None:
    webhook = await create_webhook(client, (await create_form(client))["id"], url=CLOSED)
    answer = await browser.post(f"/webhooks/{webhook['id']}/test")
    text = await browser.see(answer.headers["location"])
    assert "It does not work yet" in text
    assert "No answer" in text


async def test_tests_have_a_pace(browser: Browser, webhook: dict[str, Any]) -> None:
    path = f"/webhooks/{webhook['id']}/test"
    answers = [await browser.post(path) for _ in range(11)]
    assert [answer.status_code for answer in answers] == [303] * 10 + [429]
    assert "A webhook is tested 10 times a minute at most." in text_of(answers[-1].text)


async def test_the_bench_shows_only_deliveries_of_its_webhook(
    browser: Browser, client: httpx.AsyncClient, webhook: dict[str, Any]
) -> None:
    other = await create_webhook(client, webhook["form_id"])
    tested = (await client.post(f"/v1/webhooks/{other['id']}/test")).json()["delivery_id"]
    assert (await browser.get(f"/webhooks/{other['id']}/test?delivery={tested}")).status_code == 200
    answer = await browser.get(f"/webhooks/{webhook['id']}/test?delivery={tested}")
    assert answer.status_code == 404


async def test_the_bench_has_the_code_that_verifies(
    browser: Browser, client: httpx.AsyncClient, webhook: dict[str, Any]
) -> None:
    page = await browser.see(f"/webhooks/{webhook['id']}/test")
    for verifier in verifiers():
        assert verifier.language in page
        assert " ".join(verifier.code.split()) in page
    # A chat verifies nothing.
    await client.patch(f"/v1/webhooks/{webhook['id']}", json={"format": "slack"})
    assert "five languages" not in await browser.see(f"/webhooks/{webhook['id']}/test")


async def test_who_may_only_read_sees_no_buttons_and_is_refused(
    services: Services, account: Account, client: httpx.AsyncClient, webhook: dict[str, Any]
) -> None:
    path = f"/webhooks/{webhook['id']}"
    async with browsing(services, account, "custom", ["webhooks:read"]) as reader:
        # Without the right to read forms, a form has its id for a name.
        assert webhook["form_id"] in await reader.see("/webhooks")
        for page in ("/webhooks", path, f"/forms/{webhook['form_id']}/webhooks"):
            source = (await reader.get(page)).text
            assert "<button" not in source
            assert "/settings" not in source
            assert "/webhooks/new" not in source
        for page in ("/webhooks/new", f"{path}/settings", f"{path}/test"):
            assert (await reader.get(page)).status_code == 403
        for page in (f"{path}/delete", f"{path}/rotate-secret"):
            assert (await reader.get(page)).status_code == 403
            assert (await reader.post(page)).status_code == 403
        assert (await reader.post(f"{path}/disable")).status_code == 403
        assert (await reader.post(f"{path}/test")).status_code == 403
    assert await read(client, webhook) == {
        name: value for name, value in webhook.items() if name != "secret"
    }
    async with browsing(services, account, "custom", ["forms:read"]) as nobody:
        assert (await nobody.get("/webhooks")).status_code == 403


async def test_webhooks_of_other_accounts_are_not_there(
    services: Services, webhook: dict[str, Any]
) -> None:
    async with browsing(services, await add_account(services)) as stranger:
        path = f"/webhooks/{webhook['id']}"
        for page in ("", "/settings", "/test", "/delete", "/rotate-secret", "/log"):
            assert (await stranger.get(f"{path}{page}")).status_code == 404
        for action in ("settings", "enable", "disable", "test", "delete", "rotate-secret"):
            fields = {"url": CLOSED, "format": "formflow"}
            assert (await stranger.post(f"{path}/{action}", fields)).status_code == 404
        assert (await stranger.get(f"/forms/{webhook['form_id']}/webhooks")).status_code == 404
        fields = {"form_id": webhook["form_id"], "url": CLOSED, "format": "formflow"}
        assert (await stranger.post("/webhooks/new", fields)).status_code == 404
        assert "No webhook yet" in await stranger.see("/webhooks")


async def test_without_the_token_of_a_page_nothing_is_done(
    browser: Browser, client: httpx.AsyncClient, webhook: dict[str, Any]
) -> None:
    path = f"/webhooks/{webhook['id']}"
    for action in ("settings", "headers", "enable", "disable", "test", "delete", "rotate-secret"):
        answer = await browser.post(f"{path}/{action}", {"csrf": ""})
        assert answer.status_code == 403
    assert (await browser.post(f"{path}/delete", Origin="https://evil.test")).status_code == 403
    assert await read(client, webhook) == {
        name: value for name, value in webhook.items() if name != "secret"
    }
