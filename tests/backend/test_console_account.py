"""The page on the account, its environments, and one's own sessions."""

import re
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from backend.caller import Caller
from backend.management import Services
from tests.backend.builders import Account, add_account, add_form
from tests.backend.console_builders import Browser, browsing, text_of
from tests.backend.session_builders import bearer, join, link_token, sign_in
from tests.support.clock import ManualClock

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
]


@pytest_asyncio.fixture
async def browser(services: Services, account: Account) -> AsyncIterator[Browser]:
    async with browsing(services, account) as signed_in:
        yield signed_in


async def test_an_account_is_renamed_and_its_plan_changed(
    browser: Browser, client: httpx.AsyncClient
) -> None:
    assert "Plan: Self-hosted" in await browser.see("/account")
    for fields in ({"name": "Example Ltd"}, {"plan": "pro"}):
        answer = await browser.post("/account", fields)
        assert answer.headers["location"] == "/account?notice=saved"
    shown = (await client.get("/v1/account")).json()
    assert (shown["name"], shown["plan"]) == ("Example Ltd", "pro")
    page = await browser.see("/account")
    assert "Plan: Pro" in page
    assert "10 000" in page.replace("\u202f", " ")


async def test_a_name_that_cannot_be_is_said_at_its_field(
    browser: Browser, client: httpx.AsyncClient
) -> None:
    answer = await browser.post("/account", {"name": ""})
    assert answer.status_code == 422
    assert 'id="name-fault"' in answer.text
    assert (await client.get("/v1/account")).json()["name"] == "Test"


async def test_only_the_operator_is_offered_another_plan(
    browser: Browser, services: Services, clock: ManualClock
) -> None:
    assert "Change the plan" in await browser.see("/account")
    clock.advance(1)
    later = await add_account(services)
    async with browsing(services, later) as owner:
        page = await owner.see("/account")
        assert "Plan: Self-hosted" in page
        assert "Change the plan" not in page
        refused = await owner.post("/account", {"plan": "enterprise"})
        assert refused.status_code == 403
        assert "Only the operator of this server" in text_of(refused.text)


async def test_environments_come_and_go(
    browser: Browser, client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    answer = await browser.post("/account/environments", {"environment": "preview"})
    assert answer.status_code == 303
    page = await browser.see("/account")
    assert all(name in page for name in ("production", "development", "staging", "preview"))
    listed = (await client.get("/v1/environments")).json()["data"]
    [preview] = [each["id"] for each in listed if each["name"] == "preview"]
    form = await add_form(services, account, environment="preview")
    removal = f"/account/environments/{preview}/remove"
    assert "Remove the environment preview?" in await browser.see(removal)
    refused = await browser.post(removal)
    assert refused.status_code == 409
    assert "belong to preview" in text_of(refused.text)
    await services.forms.delete(account.principal, form.id)
    assert (await browser.post(removal)).status_code == 303
    assert (await client.get(f"/v1/environments/{preview}")).status_code == 404


@pytest.mark.parametrize(("name", "status"), [("Not This", 422), ("production", 409), ("", 422)])
async def test_an_environment_that_cannot_be_is_not_added(
    browser: Browser, client: httpx.AsyncClient, name: str, status: int
) -> None:
    answer = await browser.post("/account/environments", {"environment": name})
    assert answer.status_code == status
    assert f'name="environment" type="text" value="{name}"' in answer.text
    assert len((await client.get("/v1/environments")).json()["data"]) == 3


async def test_ones_sessions_stand_there_and_one_is_ended(
    browser: Browser, services: Services
) -> None:
    email = browser.joined.member.email
    caller = Caller("198.51.100.7", "Mozilla/5.0 (Windows NT 10.0) Firefox/119.0")
    begun = await services.sign_in.use_link(await link_token(services, email), caller)
    page = await browser.get("/account")
    assert all(part in page.text for part in ("198.51.100.7", "Firefox on Windows", "192.0.2.1"))
    assert page.text.count("This one") == 1
    answer = await browser.post(f"/account/sessions/{begun.session.id}/end")
    assert answer.headers["location"] == "/account?notice=session-ended"
    other = {"Authorization": f"Bearer {begun.token}"}
    ended = await browser.client.get("/v1/auth/session", headers=other)
    assert ended.status_code == 401
    assert "198.51.100.7" not in (await browser.get("/account")).text


async def test_ending_this_session_signs_out(browser: Browser) -> None:
    answer = await browser.post(f"/account/sessions/{browser.joined.session.session.id}/end")
    assert answer.headers["location"].startswith("/sign-in")
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert (await browser.get("/account")).status_code == 303


async def test_signing_out_everywhere_ends_every_session(
    browser: Browser, services: Services
) -> None:
    email = browser.joined.member.email
    answer = await sign_in(browser.client, await link_token(services, email))
    other = {"Authorization": f"Bearer {answer.json()['token']}"}
    assert (await browser.post("/account/sessions/end")).status_code == 303
    assert (await browser.get("/account")).status_code == 303
    assert (await browser.client.get("/v1/auth/session", headers=other)).status_code == 401


async def test_somebody_elses_session_is_not_there(
    browser: Browser, services: Services, account: Account
) -> None:
    other = await join(services, account)
    path = f"/account/sessions/{other.session.session.id}/end"
    assert (await browser.post(path)).status_code == 404
    still = await browser.client.get("/v1/auth/session", headers=bearer(other))
    assert still.status_code == 200


async def test_a_member_with_hardly_a_right_sees_themselves(
    services: Services, account: Account
) -> None:
    async with browsing(services, account, rights=["usage:read"]) as browser:
        page = await browser.see("/account")
        assert f"Signed in as {browser.joined.member.email}" in page
        assert "See what is used, and the plans" in page
        assert not any(part in page for part in ("Rename", "Environments", "Plan:"))
        assert (await browser.post("/account", {"name": "Mine"})).status_code == 403


async def test_a_form_without_the_token_of_our_page_does_nothing(
    browser: Browser, client: httpx.AsyncClient
) -> None:
    answer = await browser.post("/account", {"name": "Theirs", "csrf": "guess"})
    assert answer.status_code == 403
    assert (await client.get("/v1/account")).json()["name"] == "Test"


async def test_an_account_of_a_hostile_name_is_text(
    browser: Browser, client: httpx.AsyncClient
) -> None:
    await browser.post("/account", {"name": '"><script>alert(1)</script>'})
    page = (await browser.get("/account")).text
    assert not re.search(r"<script>alert", page)
