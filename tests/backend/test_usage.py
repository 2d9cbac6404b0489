"""Usage: counts are those of the rows, reports count once, and nobody sees more than they reach."""

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any

import httpx
import orjson
import pytest
from sqlalchemy import select

from backend.access import Reach
from backend.forms.store import FormRow
from backend.management import Services
from backend.tables import (
    daily_counts,
    files,
    form_days,
    forms,
    gateway_reports,
    submissions,
)
from backend.usage.reports import API_CALLS
from contracts.ids import new_id
from contracts.submissions import StoredFile, Submission
from contracts.usage import Count, UsageReport, day_of
from tests.backend.builders import Account, add_account, add_form
from tests.support.builders import NOW_MS, submission
from tests.support.clock import ManualClock

DAY_MS = 24 * 3600 * 1000
TODAY = day_of(NOW_MS)
FIGURES = ("submissions", "spam", "held", "test", "file_bytes", "probes")

pytestmark = pytest.mark.asyncio


def item(form: FormRow, **members: Any) -> Submission:
    return submission(id=new_id("sub", NOW_MS), form_id=form.id, **members)


def with_file(form: FormRow, size: int) -> Submission:
    id = new_id("fil", NOW_MS)
    file = StoredFile(id, "cv", "cv.pdf", size, "application/pdf", "0" * 64, f"{form.id}/{id}")
    return item(form, files=(file,))


async def counted(services: Services) -> dict[tuple[str, str], tuple[int, ...]]:
    """What is counted, by form and day."""
    async with services.database.read() as connection:
        rows = await connection.execute(select(form_days))
        return {
            (row.form_id, row.day): tuple(getattr(row, name) for name in FIGURES) for row in rows
        }


async def recounted(services: Services) -> dict[tuple[str, str], tuple[int, ...]]:
    """What ought to be counted, from the rows of submissions and files."""
    totals: dict[tuple[str, str], Counter[str]] = {}
    async with services.database.read() as connection:
        joined = select(submissions, forms.c.mode).join(forms)
        for row in await connection.execute(joined):
            total = totals.setdefault((row.form_id, day_of(row.received_at)), Counter())
            if row.mode == "test":
                total["test"] += 1
            elif row.status == "spam":
                total["spam"] += 1
            else:
                total["submissions"] += 1
                total["held"] += row.status == "held"
                total["probes"] += "probe" in orjson.loads(row.meta)
        sizes = select(files.c.size, submissions.c.form_id, submissions.c.received_at)
        for row in await connection.execute(sizes.join(submissions)):
            totals[row.form_id, day_of(row.received_at)]["file_bytes"] += row.size
    return {key: tuple(total[name] for name in FIGURES) for key, total in totals.items()}


async def test_a_commit_counts_what_it_stores_and_nothing_else(
    services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    other = await add_form(services, await add_account(services))
    sandbox = await add_form(services, account, mode="test")
    paused = await add_form(services, account, status="paused")
    first = item(form, idempotency_key="k", fingerprint="f")
    await services.intake.commit(
        [
            first,
            item(form, idempotency_key="k", fingerprint="f"),
            item(form, status="spam"),
            item(form, status="held"),
            item(form, meta='{"ip":"192.0.2.1","probe":true}'),
            item(form, meta=orjson.dumps({"user_agent": '"probe":true'}).decode()),
            item(form, received_at=NOW_MS - DAY_MS, is_promised=True),
            with_file(form, 1_000),
            with_file(form, 24),
            item(other),
            item(sandbox),
            item(sandbox, status="spam"),
            item(paused),
        ]
    )
    await services.intake.commit([first, item(form)])
    assert await counted(services) == {
        (form.id, TODAY): (7, 1, 1, 0, 1_024, 1),
        (form.id, day_of(NOW_MS - DAY_MS)): (1, 0, 0, 0, 0, 0),
        (other.id, TODAY): (1, 0, 0, 0, 0, 0),
        (sandbox.id, TODAY): (0, 0, 0, 2, 0, 0),
    }
    assert await counted(services) == await recounted(services)


async def test_commits_at_once_count_every_submission(services: Services, account: Account) -> None:
    some = [await add_form(services, account) for _ in range(3)]
    some.append(await add_form(services, await add_account(services, plan="free")))
    batches = [[item(some[(at + step) % 4]) for step in range(5)] for at in range(24)]
    repeated = [*batches, *batches[:6]]
    await asyncio.gather(*(services.intake.commit(batch) for batch in repeated))
    assert await counted(services) == await recounted(services)
    assert sum(figures[0] for figures in (await counted(services)).values()) == 120


async def test_counts_stay_when_submissions_go(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    await services.intake.commit([item(form), item(form)])
    assert (await client.delete(f"/v1/forms/{form.id}")).status_code == 204
    usage = (await client.get("/v1/usage")).json()
    assert usage["submissions"]["used"] == 2
    days = (await client.get("/v1/usage/daily", params={"from": TODAY, "to": TODAY})).json()
    assert days["data"][0]["submissions"] == 2


async def reported(services: Services) -> dict[tuple[str, str, str], int]:
    async with services.database.read() as connection:
        rows = await connection.execute(select(daily_counts))
        return {(row.account_id, row.day, row.name): row._mapping["count"] for row in rows}


async def test_a_report_counts_once_however_often_it_comes(
    services: Services, account: Account
) -> None:
    id = account.principal.account_id
    first = UsageReport("gw_1", 1, (Count(id, TODAY, "replayed", 3),))
    second = UsageReport("gw_1", 2, (Count(id, TODAY, "replayed", 4),))
    other = UsageReport("gw_2", 1, (Count(id, TODAY, "rate-limited", 5),))
    take = services.usage_reports.take
    await asyncio.gather(*(take(report) for report in [first] * 4))
    await asyncio.gather(*(take(report) for report in [second, other] * 3))
    await take(first)
    assert await reported(services) == {
        (id, TODAY, "replayed"): 7,
        (id, TODAY, "rate-limited"): 5,
    }


async def test_counts_of_an_account_that_is_gone_do_not_spoil_a_report(
    services: Services, account: Account
) -> None:
    id = account.principal.account_id
    counts = (Count("acc_gone", TODAY, "replayed", 1), Count(id, TODAY, "replayed", 1))
    await services.usage_reports.take(UsageReport("gw_1", 1, counts))
    await services.usage_reports.take(UsageReport("gw_1", 2, counts[:1]))
    assert await reported(services) == {(id, TODAY, "replayed"): 1}


async def test_sessions_that_ended_long_ago_are_forgotten(
    services: Services, account: Account, clock: ManualClock
) -> None:
    id = account.principal.account_id
    take, counts = services.usage_reports.take, (Count(id, TODAY, "replayed", 1),)
    await take(UsageReport("gw_old", 1, counts))
    clock.advance(60 * 24 * 3600)
    await take(UsageReport("gw_new", 1, counts))
    clock.advance(1)
    await services.usage_reports.forget_ended()
    async with services.database.read() as connection:
        known = await connection.execute(select(gateway_reports.c.session))
        assert known.scalars().all() == ["gw_new"]


async def test_a_new_account_has_used_nothing(client: httpx.AsyncClient) -> None:
    usage = (await client.get("/v1/usage")).json()
    assert usage == {
        "month": "2026-05",
        "resets_at": "2026-06-01T00:00:00.000Z",
        "submissions": {"used": 0, "limit": None, "percentage": None},
        "spam": 0,
        "held": 0,
        "probes": 0,
        "test": 0,
        "file_bytes": 0,
        "replays": 0,
        "rejected": {},
        "api_calls": 0,
        "plan": "selfhost",
        "limits": {
            "submissions_per_month": None,
            "file_megabytes": 25,
            "keys": None,
            "requests_per_minute": 1200,
            "retention_days": None,
            "members": None,
        },
    }


async def test_the_month_shows_what_was_stored_refused_and_asked(
    anonymous: httpx.AsyncClient, services: Services, clock: ManualClock
) -> None:
    account = await add_account(services, plan="free")
    id = account.principal.account_id
    form = await add_form(services, account)
    sandbox = await add_form(services, account, mode="test")
    await services.intake.commit([item(form) for _ in range(5)])
    await services.intake.commit([item(form, status=status) for status in ("spam", "held")])
    await services.intake.commit([item(sandbox)])
    counts = (
        Count(id, TODAY, "replayed", 2),
        Count(id, TODAY, "rate-limited", 3),
        Count(id, TODAY, "invalid-key", 1),
        Count(id, "2026-04-30", "invalid-key", 9),
    )
    await services.usage_reports.take(UsageReport("gw_1", 1, counts))
    for _ in range(2):
        await anonymous.get("/v1/plans", headers=account.headers)
    await services.api_calls.flush()
    await services.api_calls.flush()
    usage = (await anonymous.get("/v1/usage", headers=account.headers)).json()
    assert usage["submissions"] == {"used": 6, "limit": 100, "percentage": 6.0}
    assert (usage["spam"], usage["held"], usage["test"]) == (1, 1, 1)
    assert (usage["replays"], usage["api_calls"]) == (2, 2)
    assert usage["rejected"] == {"invalid-key": 1, "rate-limited": 3}
    clock.advance(31 * 24 * 3600)
    later = (await anonymous.get("/v1/usage", headers=account.headers)).json()
    assert (later["month"], later["submissions"]["used"], later["rejected"]) == ("2026-06", 0, {})


async def test_api_calls_count_whatever_becomes_of_them(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    await client.get("/v1/forms/frm_nothing")
    await client.get("/v1/forms", params={"limit": "0"})
    await client.get("/v1/health")
    await client.get("/v1/forms", headers={"Authorization": "Bearer ff_mgmt_wrong"})
    await services.api_calls.flush()
    key = (account.principal.account_id, TODAY, API_CALLS)
    assert await reported(services) == {key: 2}


async def test_every_day_is_listed_newest_first(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    id = account.principal.account_id
    await services.intake.commit([item(form), item(form, received_at=NOW_MS - 2 * DAY_MS)])
    await services.usage_reports.take(UsageReport("gw_1", 1, (Count(id, TODAY, "replayed", 2),)))
    days = (await client.get("/v1/usage/daily")).json()
    assert days["next_cursor"] is None
    dates = [day["date"] for day in days["data"]]
    assert dates == sorted(dates, reverse=True)
    assert (len(dates), dates[0]) == (30, TODAY)
    assert [(day["submissions"], day["replays"]) for day in days["data"][:4]] == [
        (1, 2),
        (0, 0),
        (1, 0),
        (0, 0),
    ]


async def test_days_of_one_form_show_what_is_known_of_it(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    form, other = [await add_form(services, account) for _ in range(2)]
    await services.intake.commit([item(form), item(other), item(other)])
    answer = await client.get("/v1/usage/daily", params={"form_id": form.id, "from": TODAY})
    [day] = answer.json()["data"]
    assert (day["submissions"], day["rejected"], day["api_calls"]) == (1, None, None)


@pytest.mark.parametrize(
    "query",
    [
        {"from": "2026-05-02", "to": "2026-05-01"},
        {"from": "2025-05-28", "to": "2026-05-29"},
        {"from": "today"},
        {"to": "20260501"},
        {"from": "2026-02-30"},
        {"form": "x"},
    ],
)
async def test_a_bad_span_is_422(client: httpx.AsyncClient, query: dict[str, str]) -> None:
    assert (await client.get("/v1/usage/daily", params=query)).status_code == 422


async def test_usage_by_form_goes_along_with_the_list_of_forms(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    forms_made = [await add_form(services, account) for _ in range(3)]
    await add_form(services, await add_account(services))
    await add_form(services, account, environment="staging")
    first, second, third = forms_made
    await services.intake.commit(
        [
            item(first, received_at=NOW_MS - 2 * DAY_MS),
            item(first, received_at=NOW_MS - 3 * DAY_MS),
            item(third, received_at=NOW_MS - 40 * DAY_MS),
        ]
    )
    query = {"limit": "2", "environment": "production"}
    page = (await client.get("/v1/usage/forms", params=query)).json()
    rest = (
        await client.get("/v1/usage/forms", params=query | {"cursor": page["next_cursor"]})
    ).json()
    usage = [*page["data"], *rest["data"]]
    listed = (await client.get("/v1/forms?environment=production")).json()["data"]
    assert [one["form_id"] for one in usage] == [form["id"] for form in listed]
    figures = {one["form_id"]: (one["submissions"], one["last_day"]) for one in usage}
    assert figures == {
        first.id: (2, day_of(NOW_MS - 2 * DAY_MS)),
        second.id: (0, None),
        third.id: (0, None),
    }
    assert rest["next_cursor"] is None


async def test_a_year_can_be_asked_for(client: httpx.AsyncClient) -> None:
    query = {"from": "2027-06-01", "to": "2028-05-31"}
    assert len((await client.get("/v1/usage/daily", params=query)).json()["data"]) == 366
    early = {"to": "0001-01-02"}
    assert len((await client.get("/v1/usage/daily", params=early)).json()["data"]) == 2


async def test_anothers_form_is_missing(client: httpx.AsyncClient, services: Services) -> None:
    foreign = (await add_form(services, await add_account(services))).id
    for form_id in (foreign, new_id("frm", 1), "x", "frm_\0"):
        answer = await client.get("/v1/usage/daily", params={"form_id": form_id})
        assert (answer.status_code, answer.json()["detail"]) == (404, "There is no such form.")


async def test_a_restricted_credential_sees_the_figures_of_its_forms(
    services: Services, account: Account
) -> None:
    form, other = [await add_form(services, account) for _ in range(2)]
    id = account.principal.account_id
    await services.intake.commit([item(form), item(other), item(other)])
    await services.usage_reports.take(UsageReport("gw_1", 1, (Count(id, TODAY, "replayed", 2),)))
    for reach, used in (
        (Reach(form_ids=frozenset({form.id})), 1),
        (Reach(environment="production"), 3),
        (Reach(environment="staging"), 0),
        (Reach(is_sandbox=True), 0),
    ):
        principal = replace(account.principal, reach=reach)
        month = await services.usage.this_month(principal)
        assert (month.used, month.stored.submissions, month.account) == (used, used, None)
        today = services.usage.today()
        [day] = await services.usage.days(principal, today, today, None)
        assert (day.stored.submissions, day.account) == (used, None)
