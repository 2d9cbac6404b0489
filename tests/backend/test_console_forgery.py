"""Every form of the console against those who are not its visitors: other sites, other sessions,
other accounts, and members with fewer rights. The tables come from the pages themselves."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import select

from backend.console.console import PAGES
from backend.console.pages import Page
from backend.management import Services
from backend.resources import path_parameters
from backend.sessions.csrf import FIELD, csrf_token
from backend.tables import metadata
from tests.backend.builders import Account, add_account
from tests.backend.console_builders import Browser, browsing
from tests.backend.session_builders import join
from tests.backend.test_access_matrix import objects_of
from tests.support.clock import ManualClock

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.timeout(300),
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
]

FORMS = [page for page in PAGES if page.method == "POST" and not page.is_public]
READS = [page for page in PAGES if page.method == "GET" and not page.is_public]
# What is asked of a page is noted where it is no change of the account's: an export is.
NOTED = {"/audit-log/export", "/forms/{form_id}/export/file"}
# A form as complete as any of them needs, so that only its origin is wrong with it.
FILLED = {
    "name": "forged",
    "email": "forged@example.com",
    "role": "viewer",
    "kind": "submission",
    "access": "all",
    "status": "paused",
    "url": "http://127.0.0.1:9/forged",
    "format": "formflow",
    "environment": "forged",
    "action": "mark_spam",
    "since": "2020-01-01T00:00",
    "grace_hours": "0",
    "key": "ff_live_forged",
}
Rows = dict[str, list[Any]]


@pytest_asyncio.fixture
async def ids(anonymous: httpx.AsyncClient, services: Services, account: Account) -> dict[str, str]:
    return await _ids_of(anonymous, services, account)


@pytest_asyncio.fixture
async def browser(services: Services, account: Account) -> AsyncIterator[Browser]:
    async with browsing(services, account) as signed_in:
        yield signed_in


async def test_a_form_from_elsewhere_is_refused_and_changes_nothing(
    browser: Browser, services: Services, account: Account, clock: ManualClock, ids: dict[str, str]
) -> None:
    other = await join(services, account)
    own = csrf_token(browser.joined.session.token)
    fields = FILLED | {"form_id": ids["form_id"], "ids": ids["submission_id"]}
    forged: dict[str, tuple[dict[str, str], str]] = {
        "another port": ({"origin": "http://console:8080"}, own),
        "another site": ({"origin": "https://evil.example"}, own),
        "https for http": ({"origin": "https://console"}, own),
        "nowhere": ({"origin": "null"}, own),
        "no origin": ({}, own),
        "no token": ({"origin": "http://console"}, ""),
        "the token of another session": (
            {"origin": "http://console"},
            csrf_token(other.session.token),
        ),
    }
    before = await _rows(services)
    answers = {}
    for page in FORMS:
        for name, (headers, token) in forged.items():
            clock.advance(2)
            data = fields | {FIELD: token}
            answer = await browser.client.post(_address(page, ids), data=data, headers=headers)
            answers[page.path, name] = answer.status_code
    assert {key: status for key, status in answers.items() if status != 403} == {}
    assert await _rows(services) == before


async def test_a_page_that_is_looked_at_changes_nothing(
    browser: Browser, services: Services, clock: ManualClock, ids: dict[str, str]
) -> None:
    before = await _rows(services)
    answers = {}
    for page in READS:
        if page.path not in NOTED:
            clock.advance(2)
            answer = await browser.get(_address(page, ids))
            answers[page.path] = answer.status_code
    assert {path: status for path, status in answers.items() if status not in (200, 303)} == {}
    assert await _rows(services) == before


async def test_whoever_is_not_signed_in_is_sent_to_sign_in(
    browser: Browser, services: Services, clock: ManualClock, ids: dict[str, str]
) -> None:
    browser.client.headers["Cookie"] = "formflow_session=ff_ses_planted"
    before = await _rows(services)
    for page in (*READS, *FORMS):
        clock.advance(2)
        address = _address(page, ids)
        answer = await browser.client.request(
            page.method, address, headers={"origin": "http://console"}
        )
        assert (answer.status_code, answer.headers["location"].partition("?")[0]) == (
            303,
            "/sign-in",
        ), page.path
    assert await _rows(services) == before


async def test_what_belongs_to_another_account_is_not_there(
    browser: Browser,
    anonymous: httpx.AsyncClient,
    services: Services,
    clock: ManualClock,
) -> None:
    foreign = await _ids_of(anonymous, services, await add_account(services))
    before = await _rows(services)
    fields = FILLED | {"form_id": foreign["form_id"], "ids": foreign["submission_id"]}
    for page in (*READS, *FORMS):
        if not path_parameters(page.path):
            continue
        clock.advance(2)
        address = _address(page, foreign)
        if page.takes_content:
            answer = await browser.send(address, b"content")
        elif page.method == "POST":
            answer = await browser.post(address, fields)
        else:
            answer = await browser.get(address)
        assert answer.status_code in (303, 404, 422), (page.method, page.path)
        assert "forged" not in answer.headers.get("location", "")
    assert await _rows(services) == before


@pytest.mark.parametrize("rights", [[], ["forms:read"], ["submissions:read"], ["webhooks:read"]])
async def test_a_member_who_may_little_meets_no_broken_page_and_changes_nothing(
    rights: list[str],
    services: Services,
    account: Account,
    clock: ManualClock,
    ids: dict[str, str],
) -> None:
    async with browsing(services, account, rights=rights) as little:
        before = await _rows(services)
        fields = FILLED | {"form_id": ids["form_id"], "ids": ids["submission_id"]}
        for page in (*READS, *FORMS):
            if page.path.startswith(("/account", "/sign-out")) or page.path in NOTED:
                continue
            clock.advance(2)
            address = _address(page, ids)
            answer = await (
                little.get(address) if page.method == "GET" else little.post(address, fields)
            )
            assert answer.status_code < 500, page.path
            assert "traceback" not in answer.text.lower()
        assert await _rows(services) == before


async def _ids_of(
    client: httpx.AsyncClient, services: Services, account: Account
) -> dict[str, str]:
    """One object of each kind; with what else a page's path may name."""
    ids = await objects_of(client, services, account)
    return ids | {"section": "general", "number": "1"}


def _address(page: Page, ids: Mapping[str, str]) -> str:
    return page.path.format(**ids)


async def _rows(services: Services) -> Rows:
    """All that is stored."""
    async with services.database.read() as connection:
        return {
            table.name: list((await connection.execute(select(table))).all())
            for table in metadata.sorted_tables
        }


async def test_what_is_asked_for_adds_no_header(browser: Browser) -> None:
    """Whatever an address says ends up in no header but as a part of an address."""
    for text in ("x\r\nSet-Cookie: a=b", "x\nY: z", "日本", "\0", "x\ty"):
        answer = await browser.client.get("/submissions", params={"form_id": text})
        assert answer.status_code == 303
        assert answer.headers["location"].isascii()
        assert answer.headers["location"].isprintable()
        assert answer.headers.keys() & {"set-cookie", "y"} == set()
