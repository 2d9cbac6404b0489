"""The page on usage."""

import re
from collections.abc import AsyncIterator
from datetime import date, timedelta
from typing import Any

import pytest
import pytest_asyncio

from backend.forms.store import FormRow
from backend.management import Services
from contracts.ids import new_id
from contracts.usage import Count, UsageReport, day_of
from tests.backend.builders import Account, add_account, add_form
from tests.backend.console_builders import Browser, browsing, text_of
from tests.support.builders import NOW_MS, submission

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
]
DAY_MS = 24 * 3600 * 1000
TODAY = day_of(NOW_MS)
ROW = re.compile(r'<th scope="row">(.*?)</th>(.*?)</tr>', re.DOTALL)


@pytest_asyncio.fixture
async def browser(services: Services, account: Account) -> AsyncIterator[Browser]:
    async with browsing(services, account) as signed_in:
        yield signed_in


async def commit(services: Services, form: FormRow, count: int = 1, **members: Any) -> None:
    await services.intake.commit(
        [submission(id=new_id("sub", NOW_MS), form_id=form.id, **members) for _ in range(count)]
    )


async def refuse(services: Services, account: Account, **counts: int) -> None:
    """Has a gateway report that so many posts were refused, by reason."""
    id = account.principal.account_id
    named = tuple(Count(id, TODAY, name.replace("_", "-"), n) for name, n in counts.items())
    await services.usage_reports.take(UsageReport("gw_1", 1, named))


def rows_of(page: str) -> dict[str, list[str]]:
    """The cells of the table, by day or month."""
    return {name: re.findall(r"<td[^>]*>(.*?)</td>", cells) for name, cells in ROW.findall(page)}


def figures_of(page: str) -> dict[str, str]:
    return dict(re.findall(r"<dt>([^<]+)</dt><dd>([^<]+)</dd>", page))


async def test_usage_says_what_came_in_and_what_was_refused_why(
    browser: Browser, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    await commit(services, form, 3)
    await commit(services, form, 2, status="spam")
    await refuse(services, account, rate_limited=4, origin_not_allowed=9)
    page = (await browser.get("/usage")).text
    assert "3 submissions. The plan has no limit." in text_of(page)
    assert figures_of(page) | {"Submissions": "3", "Spam": "2", "Files": "0 bytes"} == figures_of(
        page
    )
    rows = rows_of(page)
    assert len(rows) == 30
    assert rows[TODAY][:3] == ["3", "0", "2"]
    said = text_of(page)
    assert said.index("This site may not post to this form") < said.index("Too many requests")
    assert "Add the site to the form's allowed origins, if it is yours. 9" in said
    assert "slug" not in said


async def test_a_plan_that_is_nearly_used_up_is_shown_as_such(
    services: Services, account: Account
) -> None:
    await services.accounts.change(account.principal, None, "free")
    form = await add_form(services, account)
    async with browsing(services, account) as browser:
        await commit(services, form, 79)
        page = await browser.see("/usage")
        assert "79 of 100 submissions, 79.0%" in page
        assert "Most of the month's submissions are used" not in page
        await commit(services, form)
        assert "Most of the month's submissions are used" in await browser.see("/usage")
        await commit(services, form, 20)
        assert "The month's submissions are used up" in await browser.see("/usage")


async def test_one_asks_for_a_form_and_for_days(
    browser: Browser, services: Services, account: Account
) -> None:
    one, two = [await add_form(services, account, name=name) for name in ("One", "Two")]
    await commit(services, one, 2)
    await commit(services, two, 5)
    await commit(services, two, 1, received_at=NOW_MS - 10 * DAY_MS)
    page = (await browser.get(f"/usage?form_id={two.id}&span=30")).text
    assert figures_of(page)["Submissions"] == "6"
    assert "counted for the whole account" in text_of(page)
    week = (await browser.get(f"/usage?form_id={two.id}&span=7")).text
    assert (figures_of(week)["Submissions"], len(rows_of(week))) == ("5", 7)
    day = (date.fromisoformat(TODAY) - timedelta(days=10)).isoformat()
    between = (await browser.get(f"/usage?span=between&from={day}&to={day}")).text
    assert rows_of(between).keys() == {day}
    assert figures_of(between)["Submissions"] == "1"


async def test_a_year_is_shown_by_months(
    browser: Browser, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    await commit(services, form, 2)
    await commit(services, form, 3, received_at=NOW_MS - 100 * DAY_MS)
    answer = await browser.get("/usage?span=365")
    rows = rows_of(answer.text)
    assert len(rows) == 13
    assert rows[TODAY[:7]][0] == "2"
    assert rows[day_of(NOW_MS - 100 * DAY_MS)[:7]][0] == "3"
    assert len(answer.content) < 100_000


async def test_the_longest_page_by_days_is_small(browser: Browser, services: Services) -> None:
    answer = await browser.get("/usage?span=90")
    assert len(rows_of(answer.text)) == 90
    assert len(answer.content) < 100_000


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("from=soon&to=2026-06-01", "Give a day as 2026-06-30."),
        ("from=2026-06-02&to=2026-06-01", "The first day is after the last."),
        ("from=2020-01-01&to=2026-06-01", "Ask for 366 days at most."),
    ],
)
async def test_days_that_cannot_be_are_said_at_their_field(
    browser: Browser, query: str, says: str
) -> None:
    answer = await browser.get(f"/usage?span=between&{query}")
    assert answer.status_code == 422
    [fault] = re.findall(r'id="from-fault">(.*?)</p>', answer.text)
    assert fault == says
    assert "This month against the plan" in answer.text


async def test_a_form_of_another_account_is_not_there(browser: Browser, services: Services) -> None:
    form = await add_form(services, await add_account(services))
    assert (await browser.get(f"/usage?form_id={form.id}")).status_code == 404


async def test_without_the_right_there_is_no_usage(services: Services, account: Account) -> None:
    async with browsing(services, account, rights=["forms:read"]) as browser:
        assert (await browser.get("/usage")).status_code == 403
