"""The pages of the audit log."""

import re
from collections.abc import AsyncIterator

import httpx
import orjson
import pytest
import pytest_asyncio

from backend.audit.store import EventRow, insert_events
from backend.management import Services
from contracts.ids import new_id
from contracts.runtime.clock import iso
from tests.backend.builders import Account, add_account, create_form, create_key
from tests.backend.console_builders import Browser, browsing, text_of
from tests.support.clock import ManualClock

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
]


@pytest_asyncio.fixture
async def browser(services: Services, account: Account) -> AsyncIterator[Browser]:
    async with browsing(services, account) as signed_in:
        yield signed_in


async def test_the_log_tells_what_happened_in_sentences(
    browser: Browser, client: httpx.AsyncClient, services: Services
) -> None:
    form = await create_form(client, name="Contact us")
    key = await create_key(client)
    await client.patch(f"/v1/forms/{form['id']}", json={"name": "Contact", "status": "paused"})
    await client.delete(f"/v1/api-keys/{key['id']}")
    await client.get("/v1/forms", headers={"Authorization": "Bearer ff_mgmt_mistyped"})
    await services.refusals.flush()
    page = await browser.get("/audit-log")
    said = text_of(page.text)
    for sentence in (
        "The API key “test” created the form Contact",
        "The API key “test” changed the form Contact : name, status",
        "The API key “test” created the API key a key , submission",
        "The API key “test” revoked the API key a key",
        f"{browser.joined.member.email} signed in",
        "Somebody unknown was refused",
    ):
        assert sentence in said
    assert f'<a href="/forms/{form["id"]}">Contact</a>' in page.text
    assert f'<a href="/api-keys/{key["id"]}">a key</a>' in page.text


async def test_one_asks_who_did_what_on_what_and_when(
    browser: Browser, client: httpx.AsyncClient, clock: ManualClock, services: Services
) -> None:
    first = await create_form(client, name="First")
    clock.advance(1800)
    second = await create_form(client, name="Second")
    owner = browser.joined.member
    await services.refusals.flush()

    async def found(**query: str) -> list[str]:
        answer = await browser.client.get("/audit-log", params=query)
        assert answer.status_code == 200, answer.text
        body = answer.text.partition("<tbody>")[2]
        return [text_of(row) for row in re.findall(r"(?s)<tr>.*?</tr>", body)]

    assert {"Second" in row for row in await found(target=second["id"])} == {True}
    assert len(await found(action="form.created")) == 2
    assert len(await found(action="form.", target=first["id"])) == 1
    assert {row.split()[0] for row in await found(actor=owner.id)} == {owner.email}
    assert await found(outcome="refused") == []
    day = iso(clock.now_ms())[:10]
    assert len(await found(action="form.", since=day, until=day)) == 2
    assert await found(until="2020-01-01") == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("actor=me", "actor"),
        ("action=made.up", "action"),
        ("target=a%20form", "target"),
        ("outcome=good", "outcome"),
        ("since=yesterday", "since"),
    ],
)
async def test_a_filter_that_means_nothing_is_said_at_its_field(
    browser: Browser, query: str, field: str
) -> None:
    answer = await browser.get(f"/audit-log?{query}")
    assert answer.status_code == 422
    assert f'id="{field}-fault"' in answer.text


async def test_the_pages_of_a_filtered_log_follow_on_each_other(
    browser: Browser, services: Services, account: Account
) -> None:
    now_ms = services.clock.now_ms()
    rows = [
        EventRow(
            id=new_id("evt", now_ms - 60_000 * number),
            account_id=account.principal.account_id,
            occurred_at=now_ms - 60_000 * number,
            actor_kind="operator",
            actor_id=None,
            action="form.changed" if number % 2 else "form.created",
            target="frm_1",
            outcome="succeeded",
            address="2001:db8:1234:5678:9abc:def0:1234:5678",
            user_agent="Mozilla/5.0 (X11; Linux x86_64) " + "x" * 200,
            details=orjson.dumps({"members": ["allowed_origins", "redirect_url"]}).decode(),
        )
        for number in range(120)
    ]
    async with services.database.write() as connection:
        await insert_events(connection, rows)
    first = await browser.get("/audit-log?action=form.changed")
    assert len(first.content) < 100_000
    [older] = re.findall(r'href="([^"]+)" rel="next"', first.text)
    second = await browser.get(older.replace("&amp;", "&"))
    events = re.findall(r"/audit-log/(evt_\w+)", first.text + second.text)
    assert events == [row.id for row in rows if row.action == "form.changed"]
    assert 'rel="next"' not in second.text


async def test_an_event_shows_all_that_is_known_of_it(
    browser: Browser, client: httpx.AsyncClient
) -> None:
    form = await create_form(client, name="Contact")
    listed = await client.get("/v1/audit-log", params={"target": form["id"]})
    [event] = listed.json()["data"]
    page = await browser.see(f"/audit-log/{event['id']}")
    known = (event["id"], "form.created", form["id"], event["actor"]["id"], '"slug": "contact')
    assert all(part in page for part in known)


@pytest.mark.parametrize(
    ("format", "media_type"), [("csv", "text/csv"), ("json", "application/json")]
)
async def test_an_export_has_what_the_filter_finds(
    browser: Browser, client: httpx.AsyncClient, format: str, media_type: str
) -> None:
    form = await create_form(client, name="Contact")
    page = (await browser.get("/audit-log?action=form.")).text
    [link] = re.findall(rf'href="(/audit-log/export\?format={format}[^"]*)"', page)
    answer = await browser.get(link.replace("&amp;", "&"))
    assert answer.headers["content-type"].startswith(media_type)
    assert answer.headers["content-disposition"].startswith("attachment")
    assert form["id"] in answer.text
    assert "session.started" not in answer.text
    exported = await client.get("/v1/audit-log?action=audit.exported")
    [event] = exported.json()["data"]
    assert event["actor"]["id"] == browser.joined.member.id


async def test_what_others_wrote_is_text(browser: Browser, client: httpx.AsyncClient) -> None:
    await create_form(client, name="<img src=x onerror=alert(1)>")
    page = (await browser.get("/audit-log")).text
    assert "<img src=x" not in page
    assert "&lt;img src=x" in page


async def test_names_are_told_only_to_those_who_may_see_them(
    services: Services, account: Account, client: httpx.AsyncClient
) -> None:
    form = await create_form(client, name="Secret project")
    await client.patch(f"/v1/forms/{form['id']}", json={"name": "Top secret"})
    async with browsing(services, account, rights=["audit:read"]) as auditor:
        page = await auditor.see(f"/audit-log?target={form['id']}")
        assert form["id"] in page
        assert "Top secret" not in page


async def test_another_accounts_event_is_not_there(
    browser: Browser, services: Services, client: httpx.AsyncClient
) -> None:
    other = await add_account(services)
    listed = await client.get("/v1/audit-log", headers=other.headers)
    id = listed.json()["data"][0]["id"]
    assert (await browser.get(f"/audit-log/{id}")).status_code == 404


async def test_without_the_right_there_is_no_log(services: Services, account: Account) -> None:
    async with browsing(services, account, "editor") as editor:
        for path in ("/audit-log", "/audit-log/export?format=csv"):
            assert (await editor.get(path)).status_code == 403
