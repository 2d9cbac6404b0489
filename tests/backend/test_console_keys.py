"""The pages on API keys."""

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from backend.management import Services
from contracts.keys import KeyKind
from tests.backend.builders import Account, add_account, create_form, create_key
from tests.backend.console_builders import Browser, browsing, text_of
from tests.support.clock import ManualClock

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
]
KEY = re.compile(r"ff_[a-z]+_[0-9a-f]{12}_[0-9A-Za-z]+")
HOUR = 3600


@pytest_asyncio.fixture
async def browser(services: Services, account: Account) -> AsyncIterator[Browser]:
    async with browsing(services, account) as signed_in:
        yield signed_in


def shown_key(answer: httpx.Response) -> str:
    """The full key on the page that shows it once."""
    assert answer.status_code == 200, answer.text
    [key] = set(KEY.findall(answer.text))
    return str(key)


async def keys_of(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = (await client.get("/v1/api-keys")).json()["data"]
    return listed


async def key_named(client: httpx.AsyncClient, name: str) -> dict[str, Any]:
    [found] = [key for key in await keys_of(client) if key["name"] == name]
    return found


async def read(client: httpx.AsyncClient, id: str) -> dict[str, Any]:
    key: dict[str, Any] = (await client.get(f"/v1/api-keys/{id}")).json()
    return key


async def test_a_key_is_shown_once_and_works(browser: Browser, client: httpx.AsyncClient) -> None:
    fields = {"name": "report", "kind": "management", "access": "inbox", "ends": "30"}
    answer = await browser.post("/api-keys", fields)
    key = shown_key(answer)
    assert f"curl -H &#34;Authorization: Bearer {key}&#34;" in answer.text
    works = await client.get("/v1/forms", headers={"Authorization": f"Bearer {key}"})
    assert works.status_code == 200
    made = await key_named(client, "report")
    assert made["scopes"] == ["forms:export", "forms:read", "submissions:read"]
    assert made["created_by"] == browser.joined.member.id
    assert key not in (await browser.get("/api-keys")).text
    page = await browser.get(f"/api-keys/{made['id']}")
    assert key not in page.text
    assert "by you" in text_of(page.text)


async def test_all_that_one_can_say_of_a_key_is_done(
    browser: Browser, client: httpx.AsyncClient
) -> None:
    forms = [await create_form(client, name=name) for name in ("One", "Two")]
    fields = {
        "name": "shop",
        "kind": "live",
        "access": "custom",
        "scopes": ["submissions:write", "forms:read"],
        "environment": "production",
        "allowed_ips": "192.0.2.7\n2001:db8::/32",
        "allowed_forms": [forms[0]["id"]],
        "further_forms": forms[1]["id"],
        "rate_limit_per_minute": "60",
        "burst": "5",
        "ends": "day",
        "expires_at": "2026-07-01",
    }
    shown_key(await browser.post("/api-keys", fields))
    made = await key_named(client, "shop")
    assert (
        made
        | {
            "kind": "live",
            "scopes": ["forms:read", "submissions:write"],
            "environment": "production",
            "allowed_ips": ["192.0.2.7/32", "2001:db8::/32"],
            "allowed_forms": [forms[0]["id"], forms[1]["id"]],
            "rate_limit_per_minute": 60,
            "burst": 5,
            "expires_at": "2026-07-01T23:59:59.000Z",
        }
        == made
    )


async def test_a_submission_key_comes_with_a_line_that_posts(
    browser: Browser, client: httpx.AsyncClient
) -> None:
    form = await create_form(client, name="Contact")
    answer = await browser.post("/api-keys", {"name": "site", "kind": "submission"})
    assert f"/v1/f/{form['slug']}" in text_of(answer.text)
    made = await key_named(client, "site")
    assert (made["kind"], made["scopes"], made["expires_at"]) == ("submission", None, None)


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"name": ""}, "name", "Fill this in."),
        ({"allowed_ips": "192.0.2.1\nnowhere"}, "allowed_ips", "No. 2: Give an address"),
        ({"burst": "many"}, "burst", "Give a whole number."),
        ({"ends": "day"}, "expires_at", "Name the day."),
        ({"ends": "day", "expires_at": "2020-01-01"}, "expires_at", "Name a time to come."),
        ({"further_forms": "contact"}, "allowed_forms", "Give the id of a form"),
        ({"kind": "live", "access": "custom"}, "scopes", "at least"),
    ],
)
async def test_what_is_wrong_stands_at_its_field_and_nothing_is_made(
    browser: Browser, client: httpx.AsyncClient, fields: dict[str, str], field: str, says: str
) -> None:
    sent = {"name": "my server", "kind": "submission"} | fields
    answer = await browser.post("/api-keys", sent)
    assert answer.status_code == 422
    [fault] = re.findall(rf'id="{field}-fault">(.*?)</p>', answer.text)
    assert says in fault
    if sent["name"]:
        assert 'value="my server"' in answer.text
    assert len(await keys_of(client)) == 1


async def test_a_change_is_of_what_was_changed_alone(
    browser: Browser, client: httpx.AsyncClient
) -> None:
    body = {
        "name": "old name",
        "kind": "management",
        "scopes": ["forms:read"],
        "allowed_ips": ["192.0.2.0/24"],
        "expires_at": "2026-09-01T10:00:00Z",
    }
    made = (await client.post("/v1/api-keys", json=body)).json()
    page = (await browser.get(f"/api-keys/{made['id']}")).text
    for value in ('value="old name"', "192.0.2.0/24", 'value="forms:read" checked'):
        assert value in page
    fields = {
        "name": "new name",
        "access": "custom",
        "scopes": ["forms:read"],
        "allowed_ips": "192.0.2.0/24",
        "rate_limit_per_minute": str(made["rate_limit_per_minute"]),
        "burst": str(made["burst"]),
        "ends": "keep",
    }
    answer = await browser.post(f"/api-keys/{made['id']}", fields)
    assert answer.status_code == 303
    changed = await read(client, made["id"])
    assert changed == {name: made[name] for name in changed} | {"name": "new name"}
    [event, *_] = (await client.get("/v1/audit-log?action=key.changed")).json()["data"]
    assert event["details"] == {"members": ["name"]}


async def test_rotating_shows_the_new_key_and_until_when_the_old_one_works(
    browser: Browser, client: httpx.AsyncClient, clock: ManualClock
) -> None:
    made = await create_key(client, "management")
    answer = await browser.post(f"/api-keys/{made['id']}/rotate", {"grace_hours": "48"})
    shown_key(answer)
    old = await read(client, made["id"])
    assert old["status"] == "grace"
    assert f'data-left="{old["expires_at"]}"' in answer.text
    page = await browser.see(f"/api-keys/{made['id']}")
    assert "Another key has replaced this one" in page
    clock.advance(48 * HOUR - 1)
    bearer = {"Authorization": f"Bearer {made['key']}"}
    assert (await client.get("/v1/forms", headers=bearer)).status_code == 200
    clock.advance(1)
    assert (await client.get("/v1/forms", headers=bearer)).status_code == 403


@pytest.mark.parametrize("hours", ["-1", "169", "soon", ""])
async def test_a_grace_that_cannot_be_is_said_at_its_field(
    browser: Browser, client: httpx.AsyncClient, hours: str
) -> None:
    made = await create_key(client)
    answer = await browser.post(f"/api-keys/{made['id']}/rotate", {"grace_hours": hours})
    assert answer.status_code == 422
    assert 'id="grace_hours-fault"' in answer.text
    assert (await read(client, made["id"]))["status"] == "active"


async def test_revoking_asks_first(browser: Browser, client: httpx.AsyncClient) -> None:
    made = await create_key(client)
    asked = await browser.see(f"/api-keys/{made['id']}/revoke")
    assert "cannot be undone" in asked
    assert (await read(client, made["id"]))["status"] == "active"
    answer = await browser.post(f"/api-keys/{made['id']}/revoke")
    assert answer.headers["location"] == "/api-keys?notice=key-revoked"
    assert (await read(client, made["id"]))["status"] == "revoked"
    assert "Revoked" in await browser.see(f"/api-keys/{made['id']}")


async def test_a_leaked_key_is_revoked(browser: Browser, client: httpx.AsyncClient) -> None:
    made = await create_key(client)
    answer = await browser.post("/api-keys/leaked", {"key": f" {made['key']} "})
    assert answer.status_code == 303
    assert (await read(client, made["id"]))["status"] == "revoked"


async def test_nobody_gives_a_key_more_than_they_have(services: Services, account: Account) -> None:
    rights = ["keys:manage", "forms:read"]
    async with browsing(services, account, rights=rights) as browser:
        page = (await browser.get("/api-keys/new")).text
        assert 'value="forms:read"' in page
        assert 'value="members:manage"' not in page
        key = shown_key(
            await browser.post("/api-keys", {"name": "all", "kind": "management", "access": "all"})
        )
        bearer = {"Authorization": f"Bearer {key}"}
        assert (await browser.client.get("/v1/forms", headers=bearer)).status_code == 200
        assert (await browser.client.get("/v1/members", headers=bearer)).status_code == 403
        more = {"name": "x", "kind": "management", "access": "custom", "scopes": ["audit:read"]}
        refused = await browser.post("/api-keys", more)
        assert refused.status_code == 403
        assert "no scope that the credential lacks" in text_of(refused.text)


async def test_without_the_right_there_are_no_keys(services: Services, account: Account) -> None:
    async with browsing(services, account, "editor") as browser:
        assert 'href="/api-keys"' not in (await browser.get("/overview")).text
        for path in ("/api-keys", "/api-keys/new"):
            assert (await browser.get(path)).status_code == 403
        refused = await browser.post("/api-keys", {"name": "x", "kind": "submission"})
        assert refused.status_code == 403


async def test_another_accounts_key_is_not_there(
    browser: Browser, services: Services, client: httpx.AsyncClient
) -> None:
    other = await add_account(services)
    listed = await client.get("/v1/api-keys", headers=other.headers)
    id = listed.json()["data"][0]["id"]
    for page in ("", "/rotate", "/revoke"):
        path = f"/api-keys/{id}{page}"
        assert (await browser.get(path)).status_code == 404
        assert (await browser.post(path, {"grace_hours": "0"})).status_code == 404
    still = await client.get(f"/v1/api-keys/{id}", headers=other.headers)
    assert still.json()["status"] == "active"


@pytest.mark.parametrize("headers", [{"Origin": "https://example.com"}, {"X-CSRF-Token": "guess"}])
async def test_a_form_of_another_site_does_nothing(
    browser: Browser, client: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    made = await create_key(client)
    answer = await browser.post(f"/api-keys/{made['id']}/revoke", None, **headers)
    assert answer.status_code == 403
    assert (await read(client, made["id"]))["status"] == "active"


async def test_names_are_shown_as_they_are_and_never_as_markup(
    browser: Browser, client: httpx.AsyncClient
) -> None:
    name = "<img src=x onerror=alert(1)>"
    made = (await client.post("/v1/api-keys", json={"name": name, "kind": "submission"})).json()
    for path in ("/api-keys", f"/api-keys/{made['id']}", f"/api-keys/{made['id']}/revoke"):
        page = (await browser.get(path)).text
        assert "<img src=x" not in page
        assert "&lt;img src=x" in page


async def test_a_list_goes_on_where_its_page_ends(
    services: Services, account: Account, clock: ManualClock
) -> None:
    for number in range(51):
        clock.advance(HOUR / 8)
        await services.keys.create(account.principal, f"number {number}", KeyKind.SUBMISSION)
    async with browsing(services, account) as browser:
        first = (await browser.get("/api-keys")).text
        assert ("number 50<" in first, "number 0<" in first) == (True, False)
        [older] = re.findall(r'href="(/api-keys\?cursor=[^"]+)" rel="next"', first)
        assert "number 0" in await browser.see(older)
