"""Signing in at the identity provider: the way there and back, and who may."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from sqlalchemy import select

from backend.accounts.roles import Grant
from backend.db import Database
from backend.management import Services, create_services
from backend.oidc.pending import PENDING_SECONDS
from backend.tables import audit_log, oidc_identities, oidc_sessions
from contracts.runtime.settings import load_settings
from tests.backend.builders import Account
from tests.backend.oidc_builders import (
    ORIGIN,
    Browser,
    browsing,
    only_login,
    query_of,
    services_with,
)
from tests.backend.session_builders import join
from tests.support.clock import ManualClock
from tests.support.mini_oidc import MiniOidc, running_provider

pytestmark = pytest.mark.asyncio

ADA = "ada@example.com"
CALLBACK = f"{ORIGIN}/sign-in/oidc/callback"


@pytest.fixture
def provider(clock: ManualClock) -> Iterator[MiniOidc]:
    with running_provider(clock) as provider:
        yield provider


@pytest.fixture
def sign_up() -> str:
    """Whether everybody may sign up: tests that want it ``open`` say so."""
    return "closed"


@pytest_asyncio.fixture
async def services(
    provider: MiniOidc, database_url: str, clock: ManualClock, sign_up: str
) -> AsyncIterator[Services]:
    async with services_with(provider, database_url, clock, sign_up=sign_up) as services:
        yield services


@pytest_asyncio.fixture
async def browser(services: Services) -> AsyncIterator[Browser]:
    async with browsing(services) as browser:
        yield browser


@pytest_asyncio.fixture
async def ada(services: Services, account: Account) -> str:
    """An editor of the account; their id."""
    return (await join(services, account, "editor", email=ADA)).member.id


async def test_a_member_signs_in_at_the_provider(browser: Browser, ada: str) -> None:
    page = (await browser.client.get("/sign-in")).text
    assert "Continue with Acme ID" in page
    assert 'href="/sign-in/oidc?next=/overview"' in page
    answer = await browser.sign_in("/forms?page=2")
    assert (answer.status_code, answer.headers["location"]) == (303, "/forms?page=2")
    session = (await browser.session()).json()
    assert (session["user"]["id"], session["user"]["email"]) == (ada, ADA)
    assert (await browser.client.get("/overview")).status_code == 200


async def test_what_is_asked_of_the_provider(browser: Browser, provider: MiniOidc) -> None:
    there = query_of(await browser.depart())
    state, nonce, challenge = (there.pop(name) for name in ("state", "nonce", "code_challenge"))
    assert there == {
        "response_type": "code",
        "client_id": "formflow-client",
        "redirect_uri": CALLBACK,
        "scope": "openid email profile offline_access",
        "code_challenge_method": "S256",
    }
    assert len({state, nonce, challenge}) == 3
    assert all(len(value) == 43 for value in (state, nonce, challenge))
    [cookie] = browser.client.cookies.jar
    assert (cookie.name, cookie.has_nonstandard_attr("HttpOnly")) == ("formflow_oidc", True)
    assert not any(value in (cookie.value or "") for value in (state, nonce))


@pytest.mark.parametrize("supported", [["openid", "email"], None])
async def test_offline_access_is_asked_for_where_it_may_be_known(
    browser: Browser, provider: MiniOidc, supported: list[str] | None
) -> None:
    provider.metadata["scopes_supported"] = supported
    scopes = query_of(await browser.depart())["scope"].split()
    assert ("offline_access" in scopes) is (supported is None)


@pytest.mark.usefixtures("ada")
async def test_an_identity_is_linked_once_and_known_by_its_subject_from_then_on(
    browser: Browser, services: Services, provider: MiniOidc
) -> None:
    await browser.sign_in()
    provider.email, provider.email_verified = "other@example.com", False
    assert (await browser.sign_in()).headers["location"] == "/overview"
    assert (await browser.session()).json()["user"]["email"] == ADA
    async with services.database.read() as connection:
        [row] = await connection.execute(select(oidc_identities))
        events = (
            await connection.execute(
                select(audit_log.c.action, audit_log.c.details).where(
                    audit_log.c.actor_kind == "user"
                )
            )
        ).all()
    assert (row.issuer, row.subject) == (provider.issuer, "subject-1")
    actions = [event.action for event in events]
    assert actions.count("member.linked") == 1
    assert actions.count("session.started") == 3
    [linked] = [event.details for event in events if event.action == "member.linked"]
    assert provider.issuer in linked
    assert "subject-1" in linked


@pytest.mark.usefixtures("ada")
async def test_the_newest_identity_of_an_address_takes_the_place_of_the_one_before(
    browser: Browser, services: Services, provider: MiniOidc
) -> None:
    await browser.sign_in()
    provider.subject = "subject-2"
    assert (await browser.sign_in()).status_code == 303
    provider.subject, provider.email = "subject-1", "moved@example.com"
    answer = await browser.sign_in()
    assert answer.status_code == 403
    assert "moved@example.com" in answer.text
    async with services.database.read() as connection:
        subjects = (await connection.execute(select(oidc_identities.c.subject))).scalars().all()
    assert subjects == ["subject-2"]


@pytest.mark.usefixtures("ada")
@pytest.mark.parametrize("verified", [False, None, "true", 1, "false"])
async def test_an_address_that_is_not_verified_takes_no_account_over(
    browser: Browser, provider: MiniOidc, verified: object
) -> None:
    provider.email_verified = verified
    answer = await browser.sign_in()
    assert answer.status_code == 403
    assert "has not verified" in answer.text
    assert browser.token == ""


async def test_without_an_address_nobody_can_be_told(browser: Browser, provider: MiniOidc) -> None:
    for email in (None, "no address", "a@b\nc", "ünï@example.com"):
        provider.email = email
        answer = await browser.sign_in()
        assert answer.status_code == 403
        assert "does not say which e-mail address" in answer.text


async def test_whoever_is_no_member_is_told_what_to_do(
    browser: Browser, services: Services, account: Account
) -> None:
    await services.members.invite(account.principal, ADA, Grant("viewer"))
    answer = await browser.sign_in()
    assert answer.status_code == 403
    assert "accept the invitation first" in answer.text
    assert browser.token == ""


@pytest.mark.usefixtures("ada")
async def test_capitals_in_an_address_make_nobody_else(
    browser: Browser, provider: MiniOidc
) -> None:
    provider.email = "Ada@Example.COM"
    assert (await browser.sign_in()).status_code == 303


async def test_whoever_is_removed_is_unknown_again(
    browser: Browser, services: Services, account: Account, ada: str
) -> None:
    await browser.sign_in()
    await services.members.remove(account.principal, ada)
    assert (await browser.session()).status_code == 401
    assert (await browser.sign_in()).status_code == 403
    async with services.database.read() as connection:
        assert (await connection.execute(select(oidc_identities))).all() == []
        assert (await connection.execute(select(oidc_sessions))).all() == []


@pytest.mark.parametrize("sign_up", ["open"])
async def test_where_sign_up_is_open_a_verified_stranger_gets_an_account(
    browser: Browser, services: Services, provider: MiniOidc
) -> None:
    assert (await browser.sign_in()).status_code == 303
    user = (await browser.session()).json()["user"]
    assert (user["email"], user["role"]) == (ADA, "owner")
    provider.subject, provider.email, provider.email_verified = "s-2", "eve@example.com", False
    assert (await browser.sign_in()).status_code == 403


@pytest.mark.usefixtures("ada")
async def test_the_address_may_come_from_userinfo(browser: Browser, provider: MiniOidc) -> None:
    provider.email_in_userinfo = True
    assert (await browser.sign_in()).status_code == 303
    assert provider.calls.count("userinfo") == 1


@pytest.mark.usefixtures("ada")
async def test_what_the_id_token_verified_is_not_what_userinfo_says(
    browser: Browser, provider: MiniOidc
) -> None:
    provider.email_in_userinfo = True
    provider.claims = {"email_verified": True}
    provider.userinfo = {"email_verified": False}
    assert (await browser.sign_in()).status_code == 403


@pytest.mark.usefixtures("ada")
async def test_userinfo_of_somebody_else_counts_for_nothing(
    browser: Browser, provider: MiniOidc
) -> None:
    provider.email_in_userinfo = True
    provider.userinfo = {"sub": "subject-2"}
    answer = await browser.sign_in()
    assert answer.status_code == 502
    assert browser.token == ""


@pytest.mark.usefixtures("ada")
async def test_an_answer_counts_in_the_browser_that_asked_only(
    browser: Browser, services: Services
) -> None:
    """Nobody is signed in as somebody else by a link that they follow."""
    url = await browser.authorize(await browser.depart())
    async with browsing(services) as other:
        assert (await other.come_back(url)).status_code == 400
        await other.depart()
        assert (await other.come_back(url)).status_code == 400
        assert other.token == ""
    assert (await browser.come_back(url)).status_code == 303


@pytest.mark.usefixtures("ada")
async def test_an_answer_counts_once(browser: Browser) -> None:
    url = await browser.authorize(await browser.depart())
    [pending] = browser.client.cookies.jar
    assert (await browser.come_back(url)).status_code == 303
    assert {cookie.name for cookie in browser.client.cookies.jar} == {"formflow_session"}
    assert (await browser.come_back(url)).status_code == 400
    browser.client.cookies.jar.set_cookie(pending)
    answer = await browser.come_back(url)
    assert answer.status_code == 400
    assert "Begin again" in answer.text


@pytest.mark.usefixtures("ada")
async def test_another_sign_ins_code_does_not_fit(browser: Browser, provider: MiniOidc) -> None:
    """Somebody's own code, slipped into another's sign-in, has another verifier."""
    theirs = query_of(await browser.authorize(await browser.depart()))
    url = await browser.authorize(await browser.depart())
    answer = await browser.come_back(url.replace(query_of(url)["code"], theirs["code"]))
    assert answer.status_code == 403
    assert "invalid_grant" in answer.text
    assert browser.token == ""


@pytest.mark.usefixtures("ada")
async def test_a_sign_in_has_ten_minutes(browser: Browser, clock: ManualClock) -> None:
    url = await browser.authorize(await browser.depart())
    clock.advance(PENDING_SECONDS)
    assert (await browser.come_back(url)).status_code == 400
    url = await browser.authorize(await browser.depart())
    clock.advance(PENDING_SECONDS - 1)
    assert (await browser.come_back(url)).status_code == 303


@pytest.mark.parametrize("state", ["", "wrong", "é", "\0"])
async def test_another_state_is_refused(browser: Browser, provider: MiniOidc, state: str) -> None:
    await browser.depart()
    answer = await browser.client.get(CALLBACK, params={"code": "c", "state": state})
    assert answer.status_code == 400
    assert "token" not in provider.calls


@pytest.mark.parametrize("cookie", ["x", "gAAAAA", "é", "a=b; formflow_oidc=2"])
async def test_a_made_up_cookie_is_none(browser: Browser, cookie: str) -> None:
    headers = {"Cookie": f"formflow_oidc={cookie}".encode()}
    answer = await browser.client.get(f"{CALLBACK}?code=c&state=s", headers=headers)  # type: ignore[arg-type]
    assert answer.status_code == 400


@pytest.mark.usefixtures("ada")
@pytest.mark.parametrize("issuer", ["https://evil.example.com", "", None])
async def test_an_answer_of_another_provider_is_refused(
    browser: Browser, provider: MiniOidc, issuer: str | None
) -> None:
    answer = query_of(await browser.authorize(await browser.depart()))
    sent = {"code": answer["code"], "state": answer["state"]}
    if issuer is not None:
        sent["iss"] = issuer
    refused = await browser.client.get(CALLBACK, params=sent)
    assert refused.status_code == 400
    assert "token" not in provider.calls


@pytest.mark.usefixtures("ada")
async def test_a_provider_that_does_not_name_itself_is_believed(
    browser: Browser, provider: MiniOidc
) -> None:
    provider.names_itself = False
    assert (await browser.sign_in()).status_code == 303


async def test_what_the_provider_refuses_is_told(browser: Browser, provider: MiniOidc) -> None:
    state = query_of(await browser.depart())["state"]
    sent = {"state": state, "iss": provider.issuer, "error": "access_denied"}
    answer = await browser.client.get(CALLBACK, params=sent)
    assert (answer.status_code, "access_denied" in answer.text) == (403, True)
    state = query_of(await browser.depart())["state"]
    hostile = sent | {"state": state, "error": "<script>", "error_description": "call 555-1"}
    answer = await browser.client.get(CALLBACK, params=hostile)
    assert answer.status_code == 403
    assert "script&gt;" not in answer.text
    assert "555-1" not in answer.text


@pytest.mark.usefixtures("ada")
@pytest.mark.parametrize("next", ["//evil.example.com", "https://evil.example.com", "/\\evil"])
async def test_nobody_is_sent_elsewhere(browser: Browser, next: str) -> None:
    assert (await browser.sign_in(next)).headers["location"] == "/overview"


@pytest.mark.usefixtures("ada")
async def test_a_page_with_a_long_address_is_forgotten_and_not_the_sign_in(
    browser: Browser,
) -> None:
    assert (await browser.sign_in("/forms?q=" + "x" * 4_000)).headers["location"] == "/overview"
    kept = "/forms?q=" + "%C3%A9" * 150
    answer = await browser.client.get("/sign-in/oidc", params={"next": kept})
    assert len(answer.headers["set-cookie"]) < 4_096


@pytest.mark.usefixtures("ada")
async def test_a_session_of_before_is_not_taken_over(browser: Browser) -> None:
    await browser.sign_in()
    before = browser.token
    await browser.sign_in()
    assert browser.token not in ("", before)


@pytest.mark.usefixtures("ada")
async def test_whoever_signs_out_can_sign_out_there_too(
    browser: Browser, provider: MiniOidc
) -> None:
    assert "Sign out of" not in (await browser.client.get("/sign-in?notice=signed-out")).text
    await browser.sign_in()
    page = (await browser.client.get("/sign-in?notice=signed-out")).text
    assert "Sign out of Acme ID, too" in page
    link = f"{provider.issuer}/end-session?tenant=1&amp;client_id=formflow-client&amp;"
    assert link + "post_logout_redirect_uri=http%3A%2F%2Fconsole%2Fsign-in" in page
    assert "Sign out of" not in (await browser.client.get("/sign-in")).text


@pytest.mark.usefixtures("ada")
async def test_the_refresh_token_is_sealed(
    browser: Browser, services: Services, provider: MiniOidc
) -> None:
    await browser.sign_in()
    async with services.database.read() as connection:
        [tie] = await connection.execute(select(oidc_sessions))
    [token] = provider._refresh_tokens
    assert token not in tie.refresh_token
    assert (tie.sid, tie.subject) == (only_login(provider).sid, "subject-1")


@pytest.mark.usefixtures("ada")
async def test_the_client_authenticates_as_the_provider_wants(
    browser: Browser, provider: MiniOidc
) -> None:
    provider.metadata["token_endpoint_auth_methods_supported"] = ["client_secret_post"]
    assert (await browser.sign_in()).status_code == 303


async def test_where_there_is_no_provider_there_are_no_pages(
    database_url: str, clock: ManualClock
) -> None:
    settings = load_settings(environ={}, database_url=database_url)
    services = create_services(settings, clock, Database(settings.sqlalchemy_url()), hash_cost=4)
    async with browsing(services) as browser:
        for path in ("/sign-in/oidc", "/sign-in/oidc/callback?code=c&state=s"):
            assert (await browser.client.get(path)).status_code == 404
        logout = await browser.client.post("/v1/auth/oidc/backchannel-logout", data={})
        assert logout.status_code == 404
        assert "Continue with" not in (await browser.client.get("/sign-in")).text
    await services.database.close()
