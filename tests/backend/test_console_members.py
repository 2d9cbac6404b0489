"""The pages on members and invitations."""

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from backend.accounts.roles import ROLES
from backend.management import Services
from tests.backend.builders import Account, add_account
from tests.backend.console_builders import Browser, browsing, text_of
from tests.backend.session_builders import join, token_of
from tests.support.clock import ManualClock

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
]
HOUR = 3600
VIEWER = {"role": "viewer"}


@pytest_asyncio.fixture
async def browser(services: Services, account: Account) -> AsyncIterator[Browser]:
    async with browsing(services, account) as signed_in:
        yield signed_in


async def member_called(client: httpx.AsyncClient, email: str) -> dict[str, Any]:
    members = (await client.get("/v1/members")).json()["data"]
    [found] = [member for member in members if member["email"] == email]
    return dict(found)


def shown_link(answer: httpx.Response) -> str:
    """The link on the page that shows it once."""
    assert answer.status_code == 200, answer.text
    [link] = re.findall(r"http://[^<]+/invitation\?token=ff_inv_\w+", answer.text)
    return str(link)


async def test_an_invitation_is_shown_once_and_lets_in(
    browser: Browser, client: httpx.AsyncClient
) -> None:
    answer = await browser.post("/members", {"email": "Grace@example.com", "role": "editor"})
    link = shown_link(answer)
    assert "not shown again" in text_of(answer.text)
    listed = await browser.get("/members")
    assert "grace@example.com" in listed.text
    assert token_of(link) not in listed.text
    accepted = await client.post("/v1/invitations/accept", json={"token": token_of(link)})
    assert accepted.status_code == 200
    grace = await member_called(client, "grace@example.com")
    assert (grace["status"], grace["role"]) == ("active", "editor")


async def test_somebody_is_invited_with_what_is_ticked(
    browser: Browser, client: httpx.AsyncClient
) -> None:
    fields = {
        "email": "alan@example.com",
        "role": "custom",
        "permissions": ["forms:read", "submissions:read"],
    }
    shown_link(await browser.post("/members", fields))
    alan = await member_called(client, "alan@example.com")
    assert (alan["role"], alan["permissions"]) == ("custom", ["forms:read", "submissions:read"])
    page = (await browser.get(f"/members/{alan['id']}")).text
    assert re.findall(r'value="([\w:]+)" checked', page) == [
        "custom",
        "forms:read",
        "submissions:read",
    ]


@pytest.mark.parametrize(
    ("fields", "status", "says"),
    [
        ({"email": "nobody", "role": "viewer"}, 422, "This does not look as it must."),
        ({"email": "a@example.com", "role": "king"}, 422, "Role"),
        ({"email": "owner@example.com", "role": "viewer"}, 409, "This address is a member"),
    ],
)
async def test_what_is_wrong_with_an_invitation_is_said_beside_it(
    services: Services, account: Account, fields: dict[str, str], status: int, says: str
) -> None:
    await join(services, account, email="owner@example.com")
    async with browsing(services, account) as browser:
        answer = await browser.post("/members", fields)
    assert answer.status_code == status
    assert says in text_of(answer.text)
    assert f'value="{fields["email"]}"' in answer.text


async def test_an_invitation_is_renewed_and_taken_back(
    browser: Browser, client: httpx.AsyncClient, clock: ManualClock
) -> None:
    first = shown_link(await browser.post("/members", {"email": "g@example.com", "role": "viewer"}))
    grace = await member_called(client, "g@example.com")
    for _ in range(49):
        clock.advance(HOUR - 1)
        await browser.see("/members")
    assert "Expired" in await browser.see("/members")
    second = shown_link(await browser.post(f"/members/{grace['id']}/invite"))
    assert "Expired" not in await browser.see("/members")
    body = {"token": token_of(first)}
    assert (await client.post("/v1/invitations/accept", json=body)).status_code == 404
    assert "Take back" in await browser.see(f"/members/{grace['id']}/remove")
    answer = await browser.post(f"/members/{grace['id']}/remove")
    assert answer.headers["location"] == "/members?notice=invitation-gone"
    body = {"token": token_of(second)}
    assert (await client.post("/v1/invitations/accept", json=body)).status_code == 404


async def test_another_role_acts_at_once(
    browser: Browser, client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    async with browsing(services, account, "editor") as editor:
        id = editor.joined.member.id
        assert (await editor.get("/audit-log")).status_code == 403
        answer = await browser.post(f"/members/{id}", {"role": "admin"})
        assert answer.headers["location"] == f"/members/{id}?notice=saved"
        assert (await editor.get("/audit-log")).status_code == 200


async def test_the_last_owner_stays_and_the_page_says_why(
    browser: Browser, client: httpx.AsyncClient
) -> None:
    owner = browser.joined.member
    assert "This is you" in await browser.see(f"/members/{owner.id}/remove")
    for path, fields in ((f"/members/{owner.id}/remove", {}), (f"/members/{owner.id}", VIEWER)):
        answer = await browser.post(path, fields)
        assert answer.status_code == 409
        assert "last owner. Make somebody else an owner first." in text_of(answer.text)
    assert (await member_called(client, owner.email))["role"] == "owner"


async def test_removing_somebody_asks_first_and_signs_them_out(
    browser: Browser, client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    async with browsing(services, account, "viewer") as viewer:
        id = viewer.joined.member.id
        assert "API keys that they made go on working" in await browser.see(f"/members/{id}/remove")
        assert (await viewer.get("/account")).status_code == 200
        assert (await browser.post(f"/members/{id}/remove")).status_code == 303
        assert (await viewer.get("/account")).status_code == 303
    assert (await client.get(f"/v1/members/{id}")).status_code == 404


async def test_an_admin_makes_no_owners_and_leaves_them_alone(
    browser: Browser, services: Services, account: Account
) -> None:
    async with browsing(services, account, "admin") as admin:
        page = (await admin.get("/members/new")).text
        roles = set(re.findall(r'name="role" value="(\w+)"', page))
        assert roles == ROLES.keys() - {"owner"} | {"custom"}
        refused = await admin.post("/members", {"email": "o@example.com", "role": "owner"})
        assert refused.status_code == 403
        owner = browser.joined.member.id
        page = await admin.see(f"/members/{owner}")
        assert "Save" not in page
        assert (await admin.post(f"/members/{owner}/remove")).status_code == 403


async def test_without_the_rights_members_are_seen_or_nothing_is(
    services: Services, account: Account
) -> None:
    async with browsing(services, account, rights=["members:read"]) as reader:
        page = await reader.see("/members")
        assert reader.joined.member.email in page
        assert "Invite somebody" not in page
        for path in ("/members/new", f"/members/{reader.joined.member.id}/remove"):
            assert (await reader.get(path)).status_code == 403
    async with browsing(services, account, "editor") as editor:
        assert (await editor.get("/members")).status_code == 403


async def test_another_accounts_member_is_not_there(browser: Browser, services: Services) -> None:
    other = await join(services, await add_account(services), "viewer")
    for page in ("", "/remove"):
        assert (await browser.get(f"/members/{other.member.id}{page}")).status_code == 404
    for page in ("", "/remove", "/invite"):
        path = f"/members/{other.member.id}{page}"
        assert (await browser.post(path, VIEWER)).status_code == 404


async def test_a_form_without_the_token_of_our_page_does_nothing(
    browser: Browser, client: httpx.AsyncClient
) -> None:
    fields = {"email": "g@example.com", "role": "viewer", "csrf": "guess"}
    assert (await browser.post("/members", fields)).status_code == 403
    assert "g@example.com" not in (await client.get("/v1/members")).text
