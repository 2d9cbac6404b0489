import asyncio
from typing import Any

import httpx
import pytest

from backend.changes import read_state
from backend.forms.creation import SLUG_KEPT_MS
from backend.forms.slugs import slug_of
from backend.management import Services
from tests.backend.builders import Account, add_form, add_submission, create_form
from tests.support.clock import ManualClock

pytestmark = pytest.mark.asyncio
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


async def revision(services: Services) -> int:
    async with services.database.read() as connection:
        return (await read_state(connection)).revision


async def test_a_form_is_created_with_defaults_and_read_back(client: httpx.AsyncClient) -> None:
    created = await create_form(client, name="Contact us")
    read = (await client.get(f"/v1/forms/{created['id']}")).json()
    assert (
        read
        == created
        == {
            "id": created["id"],
            "name": "Contact us",
            "slug": "contact-us",
            "status": "live",
            "honeypot_enabled": True,
            "honeypot_field": "_gotcha",
            "redirect_url": None,
            "redirect_hosts": [],
            "mode": "live",
            "allowed_origins": [],
            "rate_limit_per_minute": 10,
            "idempotency_strict": False,
            "turnstile_enabled": False,
            "turnstile_site_key": None,
            "has_turnstile_secret": False,
            "turnstile_skip_with_key": True,
            "turnstile_on_outage": "refuse",
            "environment": "production",
            "notify_emails": "",
            "from_address": None,
            "subject_template": None,
            "autoresponse_enabled": False,
            "autoresponse_subject": None,
            "autoresponse_message": None,
            "retention_days": None,
            "fields": [],
            "enforce_fields": False,
            "silence_alarm_enabled": True,
            "created_at": "2026-05-28T20:26:40.000Z",
            "updated_at": "2026-05-28T20:26:40.000Z",
        }
    )


async def test_a_form_keeps_every_member_it_is_given(client: httpx.AsyncClient) -> None:
    members: dict[str, Any] = {
        "name": "Büro",
        "slug": "x-1",
        "status": "draft",
        "honeypot_enabled": False,
        "honeypot_field": "nickname",
        "redirect_url": "https://example.com/danke?a=b",
        "redirect_hosts": ["WWW.Example.com", "www.example.com", "b.example"],
    }
    created = await create_form(client, **members)
    expected = members | {"redirect_hosts": ["www.example.com", "b.example"]}
    assert expected.items() <= created.items()


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Über uns!", "uber-uns"),
        ("  A -- b  ", "a-b"),
        ("问卷", "form"),
        ("x" * 200, "x" * 54),
        ("½ price №5", "12-price-no5"),
    ],
)
async def test_a_slug_is_derived_from_the_name(name: str, slug: str) -> None:
    assert slug_of(name) == slug


async def test_a_taken_slug_gets_the_next_free_number(client: httpx.AsyncClient) -> None:
    await create_form(client, slug="contact-3")
    slugs = [(await create_form(client))["slug"] for _ in range(3)]
    assert slugs == ["contact", "contact-2", "contact-4"]


async def test_forms_created_at_once_all_get_slugs_of_their_own(
    services: Services, account: Account
) -> None:
    forms = await asyncio.gather(*(add_form(services, account) for _ in range(8)))
    assert len({form.slug for form in forms}) == 8


async def test_an_own_slug_that_is_taken_is_a_conflict(client: httpx.AsyncClient) -> None:
    await create_form(client, slug="mine")
    answer = await client.post("/v1/forms", json={"name": "x", "slug": "mine"})
    assert (answer.status_code, answer.json()["type"].split("/")[-1]) == (409, "conflict")


@on_sqlite
@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("slug", "-x"),
        ("slug", "x\n"),
        ("slug", "a" * 65),
        ("slug", "Ab"),
        ("name", ""),
        ("name", "a\nb"),
        ("name", "a" * 201),
        ("name", None),
        ("status", "open"),
        ("honeypot_enabled", "yes"),
        ("honeypot_field", ""),
        ("honeypot_field", "ä" * 129),
        ("honeypot_field", "a\0"),
        ("redirect_url", "javascript:alert(1)"),
        ("redirect_url", "//example.com"),
        ("redirect_url", "https://"),
        ("redirect_url", "https://user@example.com/"),
        ("redirect_url", "https://example.com\\@evil.example"),
        ("redirect_url", "https://example.com/\r\nX: y"),
        ("redirect_url", "https://example.com:99999/"),
        ("redirect_url", "https://[::1/"),
        ("redirect_url", "https://example.com/" + "a" * 2048),
        ("redirect_hosts", ["https://example.com"]),
        ("redirect_hosts", "example.com"),
        ("redirect_hosts", [".example.com"]),
        ("unknown", 1),
    ],
)
async def test_a_bad_member_is_named(client: httpx.AsyncClient, member: str, value: Any) -> None:
    answer = await client.post("/v1/forms", json={"name": "x"} | {member: value})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"][0]["field"].split(".")[0] == member


async def test_patch_changes_only_what_is_named(
    client: httpx.AsyncClient, clock: ManualClock
) -> None:
    form = await create_form(client, redirect_url="https://example.com/")
    clock.advance(5)
    answer = await client.patch(f"/v1/forms/{form['id']}", json={"status": "paused"})
    changes = {"status": "paused", "updated_at": "2026-05-28T20:26:45.000Z"}
    assert answer.json() == form | changes


async def test_null_clears_the_redirect_url(client: httpx.AsyncClient) -> None:
    form = await create_form(client, redirect_url="https://example.com/")
    answer = await client.patch(f"/v1/forms/{form['id']}", json={"redirect_url": None})
    assert answer.json()["redirect_url"] is None


@pytest.mark.parametrize(
    "change",
    [{"slug": "new"}, {"name": None}, {"status": None}, {"redirect_hosts": None}, {"id": "x"}, []],
)
async def test_patch_refuses_what_cannot_be_changed(client: httpx.AsyncClient, change: Any) -> None:
    form = await create_form(client)
    answer = await client.patch(f"/v1/forms/{form['id']}", json=change)
    assert answer.status_code == 422
    assert (await client.get(f"/v1/forms/{form['id']}")).json() == form


async def test_every_change_takes_a_new_revision(
    client: httpx.AsyncClient, services: Services
) -> None:
    revisions = [await revision(services)]
    form = await create_form(client)
    revisions.append(await revision(services))
    await client.patch(f"/v1/forms/{form['id']}", json={"name": "New"})
    revisions.append(await revision(services))
    await client.delete(f"/v1/forms/{form['id']}")
    revisions.append(await revision(services))
    assert revisions == sorted(set(revisions))


async def test_a_deleted_form_is_gone_with_its_submissions(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    submission = await add_submission(services, form)
    assert (await client.delete(f"/v1/forms/{form.id}")).status_code == 204
    for path in (f"/v1/forms/{form.id}", f"/v1/submissions/{submission}"):
        assert (await client.get(path)).status_code == 404
    assert (await client.delete(f"/v1/forms/{form.id}")).status_code == 404
    assert (await client.get("/v1/forms")).json()["data"] == []


async def test_changes_and_a_deletion_at_once_do_not_block_each_other(
    client: httpx.AsyncClient,
) -> None:
    form = await create_form(client)
    path = f"/v1/forms/{form['id']}"
    patches = [client.patch(path, json={"name": f"n{number}"}) for number in range(5)]
    answers = await asyncio.gather(*patches, client.delete(path), client.delete(path))
    assert {answer.status_code for answer in answers[:5]} <= {200, 404}
    assert sorted(answer.status_code for answer in answers[5:]) == [204, 404]


async def test_a_deleted_forms_slug_stays_taken_for_30_days(
    client: httpx.AsyncClient, clock: ManualClock
) -> None:
    form = await create_form(client, slug="mine")
    await client.delete(f"/v1/forms/{form['id']}")
    clock.advance(SLUG_KEPT_MS / 1000 - 1)
    refused = await client.post("/v1/forms", json={"name": "x", "slug": "mine"})
    assert refused.status_code == 409
    clock.advance(1)
    assert (await create_form(client, slug="mine"))["id"] != form["id"]


async def test_a_list_is_newest_first_and_continues_at_its_cursor(
    client: httpx.AsyncClient, clock: ManualClock
) -> None:
    created = []
    for _ in range(5):
        created.append((await create_form(client))["id"])
        clock.advance(1)
    listed: list[str] = []
    query: dict[str, str | int] = {"limit": 2}
    while True:
        page = (await client.get("/v1/forms", params=query)).json()
        listed += [form["id"] for form in page["data"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert listed == created[::-1]


@on_sqlite
@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=101", "limit=x", "limit=", "cursor=x", "cursor=", "cursor=%00", "page=2"],
)
async def test_a_bad_query_is_422(client: httpx.AsyncClient, query: str) -> None:
    answer = await client.get(f"/v1/forms?{query}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == query.split("=")[0]
