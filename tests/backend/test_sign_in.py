"""Signing in by a link: who gets one, once, and what nobody learns from asking."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import func, select

from backend.accounts.roles import Grant
from backend.accounts.store import insert_owner
from backend.changes import create_state
from backend.db import Database
from backend.management import Services, create_services
from backend.members.service import INVITATIONS_PER_HOUR
from backend.members.store import is_address_free
from backend.sessions.desk import PER_ADDRESS, PER_CLIENT, WAITING_MAX
from backend.tables import accounts, metadata, sessions, users
from backend.tokens import digest_of, is_token, mint_token
from contracts.ids import new_id
from contracts.runtime.settings import load_settings
from tests.backend.builders import Account, add_account
from tests.backend.session_builders import join, letters, link_token, sign_in, token_of
from tests.support.clock import ManualClock

pytestmark = pytest.mark.asyncio

ADA = "ada@example.com"
MINUTES = 60
HOUR = 3600
ORIGIN = "https://forms.example.com"


@pytest.fixture
def sign_up() -> str:
    """Whether everybody may sign up: tests that want it ``open`` say so."""
    return "closed"


@pytest_asyncio.fixture
async def services(database_url: str, clock: ManualClock, sign_up: str) -> AsyncIterator[Services]:
    """Services that can seal letters."""
    settings = load_settings(
        environ={},
        database_url=database_url,
        secret_key="a-secret-key-for-letters",
        public_url=ORIGIN,
        sign_up=sign_up,
    )
    database = Database(settings.sqlalchemy_url())
    async with database.write() as connection:
        await create_state(connection)
    yield create_services(settings, clock, database, hash_cost=4)
    await database.close()


@pytest_asyncio.fixture
async def ada(services: Services, account: Account) -> str:
    """An editor of the account, who is signed in somewhere; their id."""
    return (await join(services, account, "editor", email=ADA)).member.id


async def ask(client: httpx.AsyncClient, email: str = ADA) -> httpx.Response:
    return await client.post("/v1/auth/magic-link", json={"email": email})


async def rows(services: Services, table: Any) -> int:
    async with services.database.read() as connection:
        count = await connection.execute(select(func.count()).select_from(table))
    return int(count.scalar_one())


@pytest.mark.usefixtures("ada")
async def test_a_link_comes_by_mail_and_signs_in(
    client: httpx.AsyncClient, services: Services
) -> None:
    answer = await ask(client, "Ada@Example.com")
    assert (answer.status_code, answer.json()) == (202, {"status": "accepted"})
    [letter] = await letters(services, "account.sign_in")
    assert (letter["recipient"], letter["minutes"]) == (ADA, 15)
    assert letter["link"].startswith(f"{ORIGIN}/sign-in?token=ff_link_")
    signed_in = await sign_in(client, token_of(letter["link"]))
    assert signed_in.status_code == 201
    assert signed_in.headers["cache-control"] == "no-store"
    session = signed_in.json()
    assert is_token(session["token"], "ff_ses_")
    assert (session["user"]["email"], session["user"]["role"]) == (ADA, "editor")
    headers = {"Authorization": f"Bearer {session.pop('token')}"}
    current = await client.get("/v1/auth/session", headers=headers)
    assert (current.status_code, current.json()) == (200, session)
    assert (await client.get("/v1/forms", headers=headers)).status_code == 200


async def test_an_address_that_came_in_capitals_signs_in(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    async with services.database.write() as connection:
        id, account_id = new_id("usr", 1), account.principal.account_id
        await insert_owner(connection, id, account_id, "Owner@Example.COM", 1)
    await ask(client, "owner@example.com")
    [letter] = await letters(services, "account.sign_in")
    signed_in = await sign_in(client, token_of(letter["link"]))
    assert signed_in.json()["user"]["email"] == "Owner@Example.COM"


async def test_every_address_is_answered_alike_and_only_members_get_a_letter(
    client: httpx.AsyncClient, services: Services, account: Account, ada: str
) -> None:
    await services.members.invite(account.principal, "invited@example.com", Grant("viewer"))
    await services.members.remove(account.principal, ada)
    await join(services, account, "viewer", email="bob@example.com")
    answers = [
        await ask(client, email)
        for email in ("bob@example.com", ADA, "invited@example.com", "nobody@example.com")
    ]
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 1
    names = [set(answer.headers) for answer in answers]
    assert all(name == names[0] for name in names)
    found = await letters(services, "account.sign_in")
    assert [letter["recipient"] for letter in found] == ["bob@example.com"]


@pytest.mark.usefixtures("ada")
async def test_the_answer_does_not_wait_for_the_link(
    client: httpx.AsyncClient, services: Services
) -> None:
    """Neither for the database, whose work would tell who is a member."""
    async with services.database.write():
        answers = [await ask(client, email) for email in (ADA, "nobody@example.com")]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert len(await letters(services, "account.sign_in")) == 1


@pytest.mark.usefixtures("ada")
async def test_a_link_works_once(client: httpx.AsyncClient, services: Services) -> None:
    token = await link_token(services, ADA)
    used = [(await sign_in(client, token)).status_code for _ in range(2)]
    assert used == [201, 404]


@pytest.mark.usefixtures("ada")
async def test_of_two_who_use_a_link_at_once_one_is_signed_in(
    client: httpx.AsyncClient, services: Services
) -> None:
    for _ in range(5):
        before = await rows(services, sessions)
        token = await link_token(services, ADA)
        answers = await asyncio.gather(*(sign_in(client, token) for _ in range(4)))
        assert sorted(answer.status_code for answer in answers) == [201, 404, 404, 404]
        assert await rows(services, sessions) == before + 1


@pytest.mark.usefixtures("ada")
async def test_a_link_works_for_a_quarter_of_an_hour(
    client: httpx.AsyncClient, services: Services, clock: ManualClock
) -> None:
    in_time, late = [await link_token(services, ADA) for _ in range(2)]
    clock.advance(15 * MINUTES - 1)
    assert (await sign_in(client, in_time)).status_code == 201
    clock.advance(1)
    assert (await sign_in(client, late)).status_code == 404


@pytest.mark.usefixtures("ada")
async def test_a_link_that_is_no_good_does_not_say_why_but_the_audit_log_does(
    client: httpx.AsyncClient, services: Services, clock: ManualClock
) -> None:
    used, expired = [await link_token(services, ADA) for _ in range(2)]
    await sign_in(client, used)
    clock.advance(15 * MINUTES)
    bad = [used, expired, mint_token("ff_link_"), expired[:-1], mint_token("ff_ses_"), "x"]
    answers = [await sign_in(client, token) for token in bad]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.content for answer in answers}) == 1
    await services.refusals.flush()
    log = (await client.get("/v1/audit-log?action=credential.refused")).json()["data"]
    reasons = {event["details"]["reason"]: event["count"] for event in log}
    assert reasons == {"used": 1, "expired": 1, "unknown": 1, "malformed": 3}
    assert {event["target"] for event in log} == {"ff_link_"}


@pytest.mark.usefixtures("ada")
async def test_an_address_gets_five_links_an_hour_whoever_asks(
    client: httpx.AsyncClient, clock: ManualClock
) -> None:
    for email in (ADA, "nobody@example.com"):
        statuses = [(await ask(client, email)).status_code for _ in range(PER_ADDRESS + 1)]
        assert statuses == [202] * PER_ADDRESS + [429]
    refusals = [await ask(client, email) for email in ("ADA@example.com", "nobody@example.com")]
    assert refusals[0].json() == refusals[1].json()
    assert refusals[0].headers["retry-after"] == str(HOUR)
    clock.advance(HOUR)
    assert (await ask(client)).status_code == 202


async def test_a_client_asks_for_twenty_links_an_hour(client: httpx.AsyncClient) -> None:
    emails = [f"{number}@example.com" for number in range(PER_CLIENT + 1)]
    statuses = [(await ask(client, email)).status_code for email in emails]
    assert statuses == [202] * PER_CLIENT + [429]


async def test_what_waits_is_bounded_and_kept_while_the_database_is_away(
    client: httpx.AsyncClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.sessions.desk.WAITING_MAX", 2)
    assert WAITING_MAX > 2
    statuses = [(await ask(client, f"{number}@example.com")).status_code for number in range(3)]
    assert statuses == [202, 202, 503]
    services.database.failure.set("the disk is gone")
    await services.sign_in_desk.flush_quietly()
    assert (await ask(client)).status_code == 503


@pytest.mark.parametrize(
    "email",
    ["", "ada", "a b@example.com", "ada@", "a@b\nBcc: c@d", "a@b,c@d", "é@example.com", "<a@b>"],
)
async def test_what_is_no_address_is_refused(client: httpx.AsyncClient, email: str) -> None:
    assert (await ask(client, email)).status_code == 422


async def test_without_a_secret_key_everybody_is_told_alike(
    client: httpx.AsyncClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services.sign_in_desk._sealer, "_fernet", None)
    answer = await ask(client)
    assert (answer.status_code, "formflow sign-in" in answer.json()["detail"]) == (503, True)


@pytest.mark.usefixtures("ada")
async def test_no_token_is_stored(client: httpx.AsyncClient, services: Services) -> None:
    await ask(client)
    [letter] = await letters(services, "account.sign_in")
    link = token_of(letter["link"])
    session = (await sign_in(client, link)).json()["token"]
    async with services.database.read() as connection:
        stored = str(
            [(await connection.execute(table.select())).all() for table in metadata.sorted_tables]
        )
    assert digest_of(link) in stored
    assert digest_of(session) in stored
    assert [token for token in (link, session) if token in stored] == []


@pytest.mark.usefixtures("ada")
async def test_a_session_always_gets_a_fresh_token(
    client: httpx.AsyncClient, services: Services
) -> None:
    """Whatever somebody planted in the browser before."""
    planted = mint_token("ff_ses_")
    headers = {"Authorization": f"Bearer {planted}"}
    tokens = {planted}
    for _ in range(2):
        answer = await sign_in(client, await link_token(services, ADA), **headers)
        tokens.add(answer.json()["token"])
    assert len(tokens) == 3
    assert (await client.get("/v1/auth/session", headers=headers)).status_code == 401


@pytest.mark.usefixtures("ada")
async def test_whoever_is_removed_can_use_no_link(
    client: httpx.AsyncClient, services: Services, account: Account, ada: str
) -> None:
    token = await link_token(services, ADA)
    await services.members.remove(account.principal, ada)
    assert (await sign_in(client, token)).status_code == 404


async def test_an_invitation_comes_by_mail_and_signs_in(
    client: httpx.AsyncClient, services: Services
) -> None:
    body = {"email": "grace@example.com", "role": "viewer"}
    invited = (await client.post("/v1/members", json=body)).json()
    renewed = (await client.post(f"/v1/members/{invited['id']}/invite")).json()
    found = await letters(services, "account.invitation")
    for letter in found:
        assert (letter["recipient"], letter["hours"]) == ("grace@example.com", 48)
        assert (letter["account_name"], letter["invited_by"]) == ("Test", "Test")
    tokens = {token_of(letter["link"]) for letter in found}
    assert tokens == {invited["invitation"], renewed["invitation"]}
    path = "/v1/invitations/accept"
    joined = (await client.post(path, json={"token": renewed["invitation"]})).json()
    assert (joined["status"], joined["session"]["user"]["role"]) == ("active", "viewer")
    headers = {"Authorization": f"Bearer {joined['session']['token']}"}
    assert (await client.get("/v1/auth/session", headers=headers)).status_code == 200


async def test_an_invitation_says_who_invites(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    owner = await join(services, account, email="owner@example.com")
    headers = {"Authorization": f"Bearer {owner.session.token}"}
    body = {"email": "grace@example.com", "role": "viewer"}
    invited = await client.post("/v1/members", json=body, headers=headers)
    assert invited.json()["invited_by"] == owner.member.id
    *_, letter = await letters(services, "account.invitation")
    assert letter["invited_by"] == "owner@example.com"


@pytest.mark.usefixtures("ada")
async def test_the_operator_makes_a_link_for_whom_there_is(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    assert await services.sign_in.make_link("nobody@example.com") is None
    assert await services.sign_in.make_link(None) is None
    await join(services, account, email="owner@example.com")
    url = await services.sign_in.make_link(None)
    assert url is not None
    signed_in = (await sign_in(client, token_of(url))).json()
    assert signed_in["user"]["email"] == "owner@example.com"
    made = (await client.get("/v1/audit-log?action=member.link_made")).json()["data"]
    assert [event["actor"]["kind"] for event in made] == ["operator"]


async def test_the_audit_log_says_who_asked_and_who_signed_in(
    client: httpx.AsyncClient, services: Services, ada: str
) -> None:
    await ask(client)
    [letter] = await letters(services, "account.sign_in")
    session = (await sign_in(client, token_of(letter["link"]))).json()
    [asked] = (await client.get("/v1/audit-log?action=member.link_made")).json()["data"]
    assert (asked["actor"]["kind"], asked["target"]) == ("anonymous", ada)
    assert (asked["address"], asked["user_agent"]) == ("127.0.0.1", client.headers["user-agent"])
    query = {"action": "session.started", "target": session["id"]}
    [started] = (await client.get("/v1/audit-log", params=query)).json()["data"]
    assert started["actor"] == {"kind": "user", "id": ada, "name": ADA}


async def test_closed_to_strangers_nobody_signs_up(
    client: httpx.AsyncClient, services: Services
) -> None:
    await ask(client, "new@example.com")
    assert await letters(services, "account.sign_in") == []


@pytest.mark.parametrize("sign_up", ["open"])
@pytest.mark.usefixtures("ada")
async def test_open_to_strangers_an_account_is_made_when_the_link_is_used(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    answers = [await ask(client, email) for email in (ADA, "new@example.com")]
    assert answers[0].content == answers[1].content
    _, letter = await letters(services, "account.sign_in")
    assert letter["recipient"] == "new@example.com"
    assert await rows(services, accounts) == 1
    session = (await sign_in(client, token_of(letter["link"]))).json()
    assert (session["user"]["role"], session["account"]["name"]) == ("owner", "new@example.com")
    assert session["account"]["id"] != account.principal.account_id
    headers = {"Authorization": f"Bearer {session['token']}"}
    made = await client.post("/v1/forms", json={"name": "Mine"}, headers=headers)
    assert made.status_code == 201
    assert (await client.get("/v1/forms")).json()["data"] == []
    await ask(client, "new@example.com")
    *_, again = await letters(services, "account.sign_in")
    back = (await sign_in(client, token_of(again["link"]))).json()
    assert back["account"] == session["account"]


@pytest.mark.parametrize("sign_up", ["open"])
@pytest.mark.usefixtures("account")
async def test_two_links_of_a_stranger_used_at_once_make_one_account(
    client: httpx.AsyncClient, services: Services
) -> None:
    for number in range(PER_ADDRESS):
        email = f"new-{number}@example.com"
        for _ in range(2):
            await ask(client, email)
        tokens = [token_of(letter["link"]) for letter in await letters(services, "account.sign_in")]
        answers = await asyncio.gather(*(sign_in(client, token) for token in tokens[-2:]))
        assert [answer.status_code for answer in answers] == [201, 201]
        [first, second] = [answer.json() for answer in answers]
        assert first["account"] == second["account"]
        services.clock.advance(1)  # type: ignore[attr-defined]
    assert await rows(services, accounts) == 1 + PER_ADDRESS


# SQLite has one writer: there nothing comes in between.
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("is_before", [True, False])
@pytest.mark.parametrize("sign_up", ["open"])
@pytest.mark.usefixtures("account")
async def test_a_link_signs_in_whose_address_is_signed_up_around_the_look_whether_it_is_free(
    client: httpx.AsyncClient,
    services: Services,
    monkeypatch: pytest.MonkeyPatch,
    is_before: bool,
) -> None:
    for _ in range(2):
        await ask(client, "new@example.com")
    made = await letters(services, "account.sign_in")
    first, second = (token_of(letter["link"]) for letter in made)
    answers = []

    async def use_the_other(*arguments: Any) -> bool:
        monkeypatch.undo()
        was_free = await is_address_free(*arguments)
        answers.append(await sign_in(client, second))
        return await is_address_free(*arguments) if is_before else was_free

    monkeypatch.setattr("backend.sessions.sign_up.is_address_free", use_the_other)
    answers.append(await sign_in(client, first))
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json()["account"] == answers[1].json()["account"]


@pytest.mark.parametrize("sign_up", ["open"])
async def test_an_invitation_in_force_keeps_its_address(
    client: httpx.AsyncClient, services: Services, clock: ManualClock
) -> None:
    other = await add_account(services)
    await services.members.invite(other.principal, "grace@example.com", Grant("viewer"))
    await ask(client, "grace@example.com")
    assert await letters(services, "account.sign_in") == []
    clock.advance(48 * HOUR)
    await ask(client, "grace@example.com")
    [letter] = await letters(services, "account.sign_in")
    session = (await sign_in(client, token_of(letter["link"]))).json()
    assert session["account"]["id"] != other.principal.account_id
    assert await rows(services, users) == 1


@pytest.mark.parametrize("sign_up", ["open"])
async def test_whoever_was_invited_meanwhile_does_not_sign_up(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    await ask(client, "grace@example.com")
    [letter] = await letters(services, "account.sign_in")
    await services.members.invite(account.principal, "grace@example.com", Grant("viewer"))
    assert (await sign_in(client, token_of(letter["link"]))).status_code == 404


@pytest.mark.usefixtures("ada")
async def test_what_has_expired_is_swept_away(services: Services, clock: ManualClock) -> None:
    await link_token(services, ADA)
    await services.sessions.remove_past()
    assert await rows(services, sessions) == 1
    clock.advance(7 * 24 * HOUR)
    await services.sessions.remove_past()
    assert await rows(services, sessions) == 0
    assert await rows(services, metadata.tables["sign_in_links"]) == 0


async def test_an_account_mails_so_many_invitations_an_hour(
    client: httpx.AsyncClient, services: Services, clock: ManualClock
) -> None:
    body = {"email": "grace@example.com", "role": "viewer"}
    id = (await client.post("/v1/members", json=body)).json()["id"]
    renew = f"/v1/members/{id}/invite"
    clock.advance(1)
    statuses = [(await client.post(renew)).status_code for _ in range(INVITATIONS_PER_HOUR - 1)]
    assert statuses == [200] * (INVITATIONS_PER_HOUR - 1)
    clock.advance(1)
    refused = await client.post(renew)
    assert (refused.status_code, int(refused.headers["retry-after"])) == (429, HOUR - 2)
    invited = await client.post("/v1/members", json=body | {"email": "other@example.com"})
    assert invited.status_code == 429
    assert len(await letters(services, "account.invitation")) == INVITATIONS_PER_HOUR
    clock.advance(HOUR)
    assert (await client.post(renew)).status_code == 200
