"""The console's export of a form: how much it will be, and the file."""

import csv
import html
import io
import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from sqlalchemy import select

from backend.forms.store import FormRow
from backend.management import Services
from backend.tables import audit_log
from tests.backend.builders import Account, add_account, add_form, add_submission
from tests.backend.console_builders import Browser, browsing, text_of

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
]


@pytest_asyncio.fixture
async def browser(services: Services, account: Account) -> AsyncIterator[Browser]:
    async with browsing(services, account) as signed_in:
        yield signed_in


@pytest_asyncio.fixture
async def form(services: Services, account: Account) -> FormRow:
    return await add_form(services, account)


async def test_the_page_says_how_many_there_will_be(
    services: Services, form: FormRow, browser: Browser
) -> None:
    for status in ("received", "received", "held", "spam"):
        await add_submission(services, form, status=status)
    path = f"/forms/{form.id}/export"
    assert "4 submissions" in await browser.see(path)
    assert "2 submissions" in await browser.see(f"{path}?status=received")
    assert "1 submission " in await browser.see(f"{path}?status=held&since=2026-05-28")
    assert "0 submissions" in await browser.see(f"{path}?until=2026-05-27")
    assert 'data-expected="4"' in (await browser.get(path)).text


async def test_the_file_is_what_the_filters_say(
    services: Services, form: FormRow, browser: Browser
) -> None:
    await add_submission(services, form, payload={"a": "1"})
    spam = await add_submission(services, form, payload={"a": "=2\n3"}, status="spam")
    path = f"/forms/{form.id}/export/file"
    answer = await browser.get(f"{path}?format=csv&status=spam&since=2026-05-28&until=2026-05-28")
    assert answer.status_code == 200
    assert answer.headers["content-disposition"].startswith('attachment; filename="contact')
    assert answer.headers["cache-control"] == "no-store"
    rows = list(csv.reader(io.StringIO(answer.text, newline="")))
    assert [(row[0], row[3]) for row in rows] == [("id", "a"), (spam, "'=2\n3")]
    whole = (await browser.get(f"{path}?format=json&status=&since=&until=")).json()
    assert [each["payload"] for each in whole] == [{"a": "1"}, {"a": "=2\n3"}]


async def test_the_page_tells_the_same_for_a_script(form: FormRow, browser: Browser) -> None:
    page = (await browser.get(f"/forms/{form.id}/export?format=json&until=2026-06-30")).text
    [url] = re.findall(r'"([^"]*submissions\.json[^"]*)"', html.unescape(page))
    assert url.endswith(
        f"/v1/forms/{form.id}/submissions.json?until=2026-07-01T00%3A00%3A00Z&status=all"
    )


async def test_an_export_is_put_down_in_the_audit_log(
    services: Services, form: FormRow, browser: Browser
) -> None:
    actions = select(audit_log.c.action).where(audit_log.c.target == form.id)
    await browser.get(f"/forms/{form.id}/export")
    async with services.database.read() as connection:
        assert "submissions.exported" not in (await connection.execute(actions)).scalars().all()
    await browser.get(f"/forms/{form.id}/export/file?format=csv")
    async with services.database.read() as connection:
        assert "submissions.exported" in (await connection.execute(actions)).scalars().all()


async def test_a_day_that_is_none_is_explained(form: FormRow, browser: Browser) -> None:
    page = await browser.get(f"/forms/{form.id}/export?since=yesterday")
    assert page.status_code == 422
    assert "Give days as 2026-06-30" in text_of(page.text)
    file = await browser.get(f"/forms/{form.id}/export/file?until=9999-12-31x")
    assert file.status_code == 422
    assert (await browser.get(f"/forms/{form.id}/export?until=9999-12-31")).status_code == 422


async def test_only_who_may_export_can(
    services: Services, account: Account, form: FormRow, browser: Browser
) -> None:
    foreign = await add_form(services, await add_account(services))
    for path in ("export", "export/file?format=csv"):
        assert (await browser.get(f"/forms/{foreign.id}/{path}")).status_code == 404
    rights = ["forms:read", "submissions:read"]
    async with browsing(services, account, rights=rights) as reader:
        for path in ("export", "export/file?format=csv"):
            assert (await reader.get(f"/forms/{form.id}/{path}")).status_code == 403
        assert "/export" not in (await reader.get(f"/forms/{form.id}/submissions")).text
    async with browsing(services, account, rights=["forms:export"]) as exporter:
        assert "Download" in await exporter.see(f"/forms/{form.id}/export")
        answer = await exporter.get(f"/forms/{form.id}/export/file?format=csv")
        assert answer.text == "id,received_at,status\r\n"
