"""Submissions of other services, imported with their dates."""

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from backend.management import Services
from backend.tables import audit_log, form_days, forms, usage_months
from tests.backend.builders import Account, add_account, add_form, add_submission, create_form

pytestmark = pytest.mark.asyncio


def item(reference: str, /, **members: Any) -> dict[str, Any]:
    return {
        "reference": reference,
        "received_at": "2024-03-01T09:30:00Z",
        "payload": {"email": "ada@example.com"},
    } | members


async def send(
    client: httpx.AsyncClient, form_id: str, *items: dict[str, Any], **members: Any
) -> httpx.Response:
    body = {"source": "formspree", "submissions": list(items)} | members
    return await client.post(f"/v1/forms/{form_id}/submissions/import", json=body)


async def report(client: httpx.AsyncClient, form_id: str, *items: Any, **members: Any) -> Any:
    answer = await send(client, form_id, *items, **members)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def listed(client: httpx.AsyncClient, form_id: str) -> list[dict[str, Any]]:
    answer = await client.get(f"/v1/forms/{form_id}/submissions", params={"status": "all"})
    found: list[dict[str, Any]] = answer.raise_for_status().json()["data"]
    return found


async def test_what_is_imported_reads_as_if_it_had_been_posted_then(
    client: httpx.AsyncClient,
) -> None:
    form = await create_form(client)
    payload = {"topic": ["sales", "press"], "message": "=1+1", "nul": "a\0b"}
    meta: dict[str, Any] = {
        "ip": "192.0.2.7",
        "user_agent": "Mozilla/5.0",
        "referrer": "https://example.com/",
    }
    meta |= {"country": "NZ", "charset_guessed": True, "probe": True}
    trace = [{"check": "rate limit", "verdict": "admitted", "microseconds": 7}]
    old = item("1", payload=payload, meta=meta, read=True, trace=trace)
    spam = item("2", status="spam", received_at="2025-01-01T00:00:00.250+01:00")
    done = await report(client, form["id"], old, spam)
    # Newest first: the ids sort by the dates.
    second, first = await listed(client, form["id"])
    assert done == {
        "imported": 2,
        "known": 0,
        "past_retention": 0,
        "ids": [first["id"], second["id"]],
        "dry_run": False,
    }
    assert (second["status"], second["received_at"]) == ("spam", "2024-12-31T23:00:00.250Z")
    assert first["received_at"] == "2024-03-01T09:30:00.000Z"
    assert first["payload"] == payload
    assert list(first["payload"]) == list(payload)
    assert first["meta"] == meta
    imported = {"check": "import", "verdict": "from formspree", "microseconds": 0}
    assert first["trace"]["checks"] == [*trace, imported]
    assert second["trace"]["checks"] == [imported]
    assert first["trace"]["charged"] == 0


async def test_the_same_import_twice_stores_once(client: httpx.AsyncClient) -> None:
    form = await create_form(client)
    assert (await report(client, form["id"], item("1"), item("2"), item("2")))["imported"] == 2
    again = await report(client, form["id"], item("2"), item("3"))
    assert (again["imported"], again["known"]) == (1, 1)
    assert len(await listed(client, form["id"])) == 3


async def test_the_same_import_at_once_stores_once(client: httpx.AsyncClient) -> None:
    form = await create_form(client)
    items = [item(str(number)) for number in range(50)]
    reports = await asyncio.gather(*(report(client, form["id"], *items) for _ in range(4)))
    assert sorted(found["imported"] for found in reports) == [0, 0, 0, 50]


async def test_two_sources_and_two_forms_do_not_know_each_other(client: httpx.AsyncClient) -> None:
    one, other = await create_form(client), await create_form(client)
    await report(client, one["id"], item("1"))
    assert (await report(client, one["id"], item("1"), source="basin"))["imported"] == 1
    assert (await report(client, other["id"], item("1")))["imported"] == 1


async def test_a_forms_own_export_is_known_where_its_submissions_still_are(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    id = await add_submission(services, form)
    own = item(id, received_at="2026-05-28T20:26:41Z")
    there = await report(client, form.id, own, source="formflow")
    assert (there["known"], there["ids"]) == (1, [id])
    elsewhere = await create_form(client)
    assert (await report(client, elsewhere["id"], own, source="formflow"))["imported"] == 1


async def test_a_dry_run_tells_the_same_and_stores_nothing(client: httpx.AsyncClient) -> None:
    form = await create_form(client)
    await report(client, form["id"], item("1"))
    would = await report(client, form["id"], item("1"), item("2"), dry_run=True)
    ids = would.pop("ids")
    assert would == {"imported": 1, "known": 1, "past_retention": 0, "dry_run": True}
    assert [found["id"] for found in await listed(client, form["id"])] == ids[:1]
    assert (await report(client, form["id"], item("1"), item("2")))["ids"] == ids


async def test_what_retention_will_remove_is_said(
    client: httpx.AsyncClient, services: Services
) -> None:
    form = await create_form(client)
    async with services.database.write() as connection:
        change = forms.update().where(forms.c.id == form["id"]).values(retention_days=30)
        await connection.execute(change)
    recent = item("2", received_at="2026-05-28T20:26:40Z")
    assert (await report(client, form["id"], item("1"), recent))["past_retention"] == 1


async def test_what_is_imported_is_found_by_its_words_at_once(client: httpx.AsyncClient) -> None:
    form = await create_form(client)
    await report(client, form["id"], item("1", payload={"message": "Grüße aus Göttingen"}))
    answer = await client.get(f"/v1/forms/{form['id']}/submissions", params={"q": "göttingen"})
    assert len(answer.raise_for_status().json()["data"]) == 1


async def test_an_import_uses_no_quota_and_is_audited_once(
    client: httpx.AsyncClient, services: Services
) -> None:
    form = await create_form(client)
    await report(client, form["id"], item("1"), item("2"))
    await report(client, form["id"], item("1"))
    async with services.database.read() as connection:
        assert (await connection.execute(select(usage_months.c.submissions))).all() == []
        assert (await connection.execute(select(form_days.c.submissions))).all() == []
        events = await connection.execute(
            select(audit_log.c.target, audit_log.c.details).where(
                audit_log.c.action == "submissions.imported"
            )
        )
        assert events.all() == [(form["id"], '{"source":"formspree","count":2}')]


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"received_at": "2026-05-28T20:26:41Z"}, "submissions.0.received_at"),
        ({"received_at": "1969-12-31T23:59:59Z"}, "submissions.0.received_at"),
        ({"received_at": "2024-03-01 09:30"}, "submissions.0.received_at"),
        ({"reference": ""}, "submissions.0.reference"),
        ({"status": "deleted"}, "submissions.0.status"),
        ({"payload": {"a": "x" * 65_537}}, "submissions.0.payload"),
        ({"payload": {"é" * 129: "x"}}, "submissions.0.payload"),
        ({"payload": {str(n): "" for n in range(201)}}, "submissions.0.payload"),
        ({"charged": 1}, "submissions.0.charged"),
        ({"trace": [{"check": "a", "verdict": "b", "microseconds": -1}]}, "submissions.0.trace"),
    ],
)
async def test_a_bad_submission_is_named_and_nothing_is_stored(
    client: httpx.AsyncClient, members: dict[str, Any], field: str
) -> None:
    form = await create_form(client)
    answer = await send(client, form["id"], item("1", **members), item("2"))
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"].startswith(field)
    assert await listed(client, form["id"]) == []


async def test_another_accounts_form_and_a_deleted_one_are_missing(
    client: httpx.AsyncClient, services: Services
) -> None:
    foreign = await add_form(services, await add_account(services))
    gone = await create_form(client)
    await client.delete(f"/v1/forms/{gone['id']}")
    for form_id in (foreign.id, gone["id"], "frm_nonsense"):
        assert (await send(client, form_id, item("1"))).status_code == 404
