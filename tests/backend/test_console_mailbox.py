"""The pages of the mailbox."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from backend.management import Services
from contracts.ids import new_id
from tests.backend.builders import Account, add_account, add_form, add_submission
from tests.backend.console_builders import Browser, browsing, text_of
from tests.backend.mail_builders import add_mail, attempted, mail_about

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
]
HOSTILE = "<script>alert(1)</script><img src=https://example.com/x>"


@pytest_asyncio.fixture
async def browser(services: Services, account: Account) -> AsyncIterator[Browser]:
    async with browsing(services, account) as signed_in:
        yield signed_in


async def test_an_empty_mailbox_tells_how_mails_are_sent(
    browser: Browser, services: Services, account: Account
) -> None:
    page = await browser.see("/mailbox")
    assert "No mails yet" in page
    assert "FORMFLOW_SMTP_URL='smtp://" in page
    sending = replace(services, mailbox=None)
    async with browsing(sending, account) as other:
        assert "Mails go out by your mail server" in await other.see("/mailbox")


async def test_a_mail_is_read_as_it_looks_and_as_text(
    browser: Browser, services: Services, account: Account
) -> None:
    ids = [await add_mail(services, account, name) for name in ("One", "Two")]
    listed = (await browser.get("/mailbox")).text
    assert re.findall(r'<a id="(mail_\w+)"', listed) == ids[::-1]
    page = (await browser.get(f"/mailbox/{ids[0]}")).text
    assert "owner@example.com" in page
    assert f'src="/mailbox/{ids[0]}/html" sandbox' in page
    assert "to One" not in page
    assert "to One" in (await browser.get(f"/mailbox/{ids[0]}/html")).text
    assert "to One" in (await browser.get(f"/mailbox/{ids[0]}?as=text")).text


async def test_the_html_of_a_mail_can_do_nothing(
    browser: Browser, services: Services, account: Account
) -> None:
    id = await add_mail(services, account)
    answer = await browser.get(f"/mailbox/{id}/html")
    policy = answer.headers["content-security-policy"].split("; ")
    assert set(policy) == {
        "sandbox",
        "default-src 'none'",
        "img-src data:",
        "style-src 'unsafe-inline'",
        "frame-ancestors 'self'",
    }
    assert answer.headers["x-frame-options"] == "SAMEORIGIN"
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_only_the_mailbox_frames_anything(
    browser: Browser, services: Services, account: Account
) -> None:
    id = await add_mail(services, account)
    for path, frames in (("/mailbox", True), (f"/mailbox/{id}", True), ("/account", False)):
        answer = await browser.get(path)
        policy = answer.headers["content-security-policy"]
        assert ("frame-src 'self'" in policy) is frames
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-frame-options"] == "DENY"


async def test_what_a_visitor_wrote_is_text_on_our_pages(
    browser: Browser, services: Services, account: Account
) -> None:
    form = await add_form(services, account, name=HOSTILE, notify_emails="o@example.com")
    payload = {"message": f"{HOSTILE} javascript:alert(1) https://example.com/a?b=1&c=2."}
    sent = await add_submission(services, form, payload=payload)
    await attempted(services, mail_about(form, sent))
    [id] = re.findall(r'<a id="(mail_\w+)"', (await browser.get("/mailbox")).text)
    for path in ("/mailbox", f"/mailbox/{id}", f"/mailbox/{id}?as=text"):
        page = (await browser.get(path)).text
        assert not any(part in page for part in ("<script>", "<img src=https", 'href="javascript'))
    assert 'href="https://example.com/a?b=1&amp;c=2" rel="noopener noreferrer nofollow ugc"' in page


async def test_the_list_goes_on_with_a_mail_open(
    browser: Browser, services: Services, account: Account
) -> None:
    form = await add_form(services, account, notify_emails="o@example.com")
    for _ in range(51):
        submission_id = await add_submission(services, form)
        now_ms = services.clock.now_ms()
        await attempted(services, mail_about(form, submission_id, id=new_id("dlv", now_ms)))
    first = await browser.get("/mailbox")
    assert len(first.content) < 100_000
    [older] = re.findall(r'href="([^"]+)" rel="next"', first.text)
    second = (await browser.get(older)).text
    [oldest] = re.findall(r'href="(/mailbox/mail_[^"]+)"', second)
    opened = await browser.get(oldest)
    assert "the mail as it looks" in opened.text.lower()
    assert re.findall(r'<a id="mail_\w+" href="([^"]+)"', opened.text) == [oldest]


async def test_another_accounts_mail_is_not_there(browser: Browser, services: Services) -> None:
    id = await add_mail(services, await add_account(services))
    for path in (f"/mailbox/{id}", f"/mailbox/{id}/html", "/mailbox/mail_x"):
        assert (await browser.get(path)).status_code == 404
    assert "No mails yet" in text_of((await browser.get("/mailbox")).text)


async def test_the_mailbox_is_for_owners(services: Services, account: Account) -> None:
    id = await add_mail(services, account)
    async with browsing(services, account, "admin") as admin:
        assert 'href="/mailbox"' not in (await admin.get("/overview")).text
        for path in ("/mailbox", f"/mailbox/{id}", f"/mailbox/{id}/html"):
            assert (await admin.get(path)).status_code == 403
