from pathlib import Path
from typing import Any

import httpx
import pytest

from backend.accounts.store import insert_owner
from backend.forms.config import FormConfigs
from backend.internal.store import forms_by_slug
from backend.management import Services
from contracts.fields import DeclaredField, FieldType
from contracts.forms import FormConfig
from contracts.ids import new_id
from tests.backend.builders import Account, add_account, create_form
from tests.backend.form_builders import client_of, with_plan

pytestmark = pytest.mark.asyncio
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

MEMBERS: dict[str, Any] = {
    "environment": "staging",
    "notify_emails": "ada@example.com,sales@example.com",
    "from_address": "Shop <shop@example.com>",
    "subject_template": "{{form.name}}: {{ field.Your name }}",
    "retention_days": 30,
    "enforce_fields": True,
    "silence_alarm_enabled": False,
}
FIELD: dict[str, Any] = {
    "name": "email",
    "type": "email",
    "label": "E-mail",
    "required": True,
    "min_length": None,
    "max_length": 100,
    "min": None,
    "max": None,
    "pattern": ".*@example\\.com",
    "options": [],
    "multiple": False,
    "max_items": None,
}


async def config_of(services: Services, slug: str) -> FormConfig:
    """The form as a gateway gets it."""
    configs: FormConfigs = services.form_configs
    async with services.database.read() as connection:
        form = (await forms_by_slug(connection, configs, [slug]))[slug]
    assert form is not None
    return form


async def test_every_member_is_kept_changed_and_cleared(client: httpx.AsyncClient) -> None:
    members = MEMBERS | {"fields": [FIELD]}
    created = await create_form(client, **members)
    path = f"/v1/forms/{created['id']}"
    assert members.items() <= created.items()
    assert (await client.get(path)).json() == created
    changes: dict[str, Any] = {
        "environment": "development",
        "notify_emails": "",
        "from_address": None,
        "subject_template": None,
        "retention_days": None,
        "fields": [],
        "enforce_fields": False,
        "silence_alarm_enabled": True,
    }
    changed = (await client.patch(path, json=changes)).json()
    assert changes.items() <= changed.items()
    assert (await client.get(path)).json() == changed
    # What the API shows can be sent back.
    again = await client.patch(path, json={name: created[name] for name in members})
    assert members.items() <= again.json().items()


async def test_the_owner_is_told_unless_somebody_else_is_named(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    now_ms = services.clock.now_ms()
    async with services.database.write() as connection:
        user_id = new_id("usr", now_ms)
        email = "owner@example.com"
        await insert_owner(connection, user_id, account.principal.account_id, email, now_ms)
    assert (await create_form(client))["notify_emails"] == "owner@example.com"
    assert (await create_form(client, notify_emails=""))["notify_emails"] == ""
    named = await create_form(client, notify_emails=" b@x.example ,a@x.example, B@x.example,")
    assert named["notify_emails"] == "b@x.example,a@x.example"


@on_sqlite
@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("notify_emails", "ada"),
        ("notify_emails", "a@b\r\nBcc: c@d"),
        ("notify_emails", "Ada <a@b>"),
        ("notify_emails", ["a@b"]),
        ("notify_emails", None),
        ("notify_emails", ",".join(f"a{number}@b" for number in range(21))),
        ("from_address", "Shop"),
        ("from_address", "Shop <shop>"),
        ("from_address", "a@b\nBcc: c@d"),
        ("from_address", 'Shop" <a@b>'),
        ("subject_template", ""),
        ("subject_template", "a\r\nBcc: c@d"),
        ("subject_template", "{{form.slug}}"),
        ("subject_template", "{{field.}}"),
        ("subject_template", "{{form.name"),
        ("subject_template", "form.name}}"),
        ("subject_template", "x" * 201),
        ("retention_days", 0),
        ("retention_days", 36_501),
        ("retention_days", 1.5),
        ("environment", "nowhere"),
        ("environment", ""),
        ("environment", None),
        ("enforce_fields", "yes"),
        ("fields", {}),
    ],
)
async def test_a_bad_member_is_named(client: httpx.AsyncClient, member: str, value: Any) -> None:
    refused = await client.post("/v1/forms", json={"name": "x", member: value})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == member
    form = await create_form(client)
    refused = await client.patch(f"/v1/forms/{form['id']}", json={member: value})
    assert refused.status_code == 422
    assert (await client.get(f"/v1/forms/{form['id']}")).json() == form


@on_sqlite
@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ({}, "required"),
        ({"name": ""}, "at least 1 character"),
        ({"name": "a\n"}, "pattern"),
        ({"name": "ä" * 129}, "256 bytes"),
        ({"name": "_next"}, "never stored"),
        ({"name": "_gotcha"}, "honeypot"),
        ({"name": "a", "type": "colour"}, "Input should be"),
        ({"name": "a", "size": 1}, "no such member"),
        ({"name": "a", "min": 0}, "min is for"),
        ({"name": "a", "type": "number", "max_length": 2}, "max_length is for"),
        ({"name": "a", "type": "number", "min": 2, "max": 1}, "min is more than max"),
        ({"name": "a", "type": "number", "min": "1"}, "are numbers"),
        ({"name": "a", "type": "date", "max": 1}, "are dates"),
        ({"name": "a", "type": "date", "max": "2026-02-30"}, "are dates"),
        ({"name": "a", "min_length": 3, "max_length": 2}, "min_length is more"),
        ({"name": "a", "type": "select"}, "needs its options"),
        ({"name": "a", "type": "radio", "options": ["x"], "multiple": True}, "multiple is for"),
        ({"name": "a", "type": "select", "options": ["x", "x"]}, "twice"),
        ({"name": "a", "type": "checkbox", "multiple": True}, "needs its options"),
        ({"name": "a", "options": ["x"]}, "options is for"),
        ({"name": "a", "max_items": 2}, "max_items is for"),
        ({"name": "a", "pattern": "(a"}, "pattern: There is a ("),
        ({"name": "a", "pattern": "(?=a)"}, "looking ahead"),
        ({"name": "a", "pattern": "a", "max_length": 1001}, "With a pattern"),
    ],
)
async def test_a_bad_declaration_says_what_is_wrong(
    client: httpx.AsyncClient, field: dict[str, Any], reason: str
) -> None:
    answer = await client.post("/v1/forms", json={"name": "x", "fields": [{"name": "z"}, field]})
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error["field"].startswith("fields")
    assert reason in error["message"]


@on_sqlite
async def test_declarations_are_bounded_together(client: httpx.AsyncClient) -> None:
    async def refusal(fields: list[dict[str, Any]]) -> str:
        answer = await client.post("/v1/forms", json={"name": "x", "fields": fields})
        assert answer.status_code == 422
        return str(answer.json()["errors"][0]["message"])

    assert "twice" in await refusal([{"name": "a"}, {"name": "a"}])
    assert "at most 100" in await refusal([{"name": str(number)} for number in range(101)])
    large = [{"name": str(number), "pattern": "[a-z]{190}"} for number in range(60)]
    assert "too large together" in await refusal(large)


async def test_the_honeypot_cannot_become_a_declared_field(client: httpx.AsyncClient) -> None:
    form = await create_form(client, fields=[{"name": "website"}])
    path = f"/v1/forms/{form['id']}"
    assert (await client.patch(path, json={"honeypot_field": "website"})).status_code == 422
    both = {"honeypot_field": "website", "honeypot_enabled": False}
    assert (await client.patch(path, json=both)).status_code == 200
    assert (await client.patch(path, json={"honeypot_enabled": True})).status_code == 422


async def test_a_gateway_gets_the_fields_only_if_they_are_enforced(
    client: httpx.AsyncClient, services: Services
) -> None:
    form = await create_form(client, fields=[FIELD])
    assert (await config_of(services, form["slug"])).fields == ()
    await client.patch(f"/v1/forms/{form['id']}", json={"enforce_fields": True})
    expected = DeclaredField(
        "email",
        FieldType.EMAIL,
        label="E-mail",
        required=True,
        max_length=100,
        pattern=".*@example\\.com",
    )
    assert (await config_of(services, form["slug"])).fields == (expected,)


async def test_a_list_can_be_narrowed(client: httpx.AsyncClient) -> None:
    live = await create_form(client)
    paused = await create_form(client, status="paused")
    staged = await create_form(client, environment="staging", status="paused")

    async def listed(**query: str) -> list[str]:
        page = (await client.get("/v1/forms", params=query)).json()
        return sorted(form["id"] for form in page["data"])

    assert await listed(environment="production") == sorted([live["id"], paused["id"]])
    assert await listed(status="paused") == sorted([paused["id"], staged["id"]])
    assert await listed(status="paused", environment="staging") == [staged["id"]]
    assert await listed(environment="nowhere") == []
    for query in ("status=gone", "environment=%00", "environment="):
        assert (await client.get(f"/v1/forms?{query}")).status_code == 422


async def test_a_plan_caps_the_retention(services: Services, tmp_path: Path) -> None:
    capped = with_plan(services, tmp_path, retention_days=30)
    account = await add_account(capped, plan="only")
    async with client_of(capped, account) as client:
        refused = await client.post("/v1/forms", json={"name": "x", "retention_days": 31})
        assert refused.status_code == 422
        assert "30 days at most" in refused.json()["detail"]
        form = await create_form(client, retention_days=30)
        path = f"/v1/forms/{form['id']}"
        assert (await client.patch(path, json={"retention_days": 31})).status_code == 422


async def test_a_duplicate_has_every_setting_but_no_submission(
    client: httpx.AsyncClient, services: Services
) -> None:
    form = await create_form(client, **MEMBERS, fields=[FIELD], status="paused", mode="test")
    answer = await client.post(f"/v1/forms/{form['id']}/duplicate", json={})
    assert answer.status_code == 201
    copy = answer.json()
    own = {"id", "name", "slug", "created_at", "updated_at"}
    assert (copy["name"], copy["slug"]) == ("Contact (copy)", "contact-copy")
    assert {name: copy[name] for name in copy.keys() - own} == {
        name: form[name] for name in form.keys() - own
    }
    listed = await client.get(f"/v1/forms/{copy['id']}/submissions?status=all")
    assert listed.json()["data"] == []


async def test_a_duplicate_may_have_a_name_and_a_slug_of_its_own(client: httpx.AsyncClient) -> None:
    form = await create_form(client)
    path = f"/v1/forms/{form['id']}/duplicate"
    copy = (await client.post(path, json={"name": "Next", "slug": "mine"})).json()
    assert (copy["name"], copy["slug"]) == ("Next", "mine")
    assert (await client.post(path, json={"slug": "mine"})).status_code == 409
    assert (await client.post(path, json={"status": "live"})).status_code == 422
    unknown = f"/v1/forms/{new_id('frm', 0)}/duplicate"
    assert (await client.post(unknown, json={})).status_code == 404
