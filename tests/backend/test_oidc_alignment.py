"""Sessions end with those of the provider: when it says so, and when it refuses to go on."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import select, update

from backend.management import Services, create_services
from backend.oidc import refresher
from backend.oidc.kept import PAUSE_SECONDS
from backend.oidc.refresher import Refresher
from backend.oidc.sign_in import REFRESH_MS
from backend.tables import audit_log, oidc_sessions, oidc_used, sessions
from tests.backend.builders import Account
from tests.backend.oidc_builders import (
    LOGOUT,
    Browser,
    browsing,
    only_login,
    provider_of,
    services_with,
)
from tests.backend.session_builders import bearer, join
from tests.support.clock import ManualClock
from tests.support.jose import other_key
from tests.support.mini_oidc import LOGOUT_EVENT, MiniOidc, Mode, running_provider

pytestmark = pytest.mark.asyncio

NOW = 1_780_000_000
DUE_SECONDS = REFRESH_MS / 1000


@pytest.fixture
def provider(clock: ManualClock) -> Iterator[MiniOidc]:
    with running_provider(clock) as provider:
        yield provider


@pytest_asyncio.fixture
async def services(
    provider: MiniOidc, database_url: str, clock: ManualClock
) -> AsyncIterator[Services]:
    async with services_with(provider, database_url, clock) as services:
        yield services


@pytest_asyncio.fixture
async def browser(services: Services, account: Account) -> AsyncIterator[Browser]:
    """A browser; whom the provider signs in is a member."""
    await join(services, account, "editor", email="ada@example.com")
    async with browsing(services) as browser:
        yield browser


@pytest.fixture
def refresh(services: Services) -> Refresher:
    return provider_of(services).refresher


async def log_out(browser: Browser, token: str) -> httpx.Response:
    """The provider says that a session has ended."""
    return await browser.client.post(LOGOUT, data={"logout_token": token})


async def signed_in(browser: Browser) -> bool:
    """Whether the browser's session is in force."""
    answer = await browser.session()
    assert answer.status_code in (200, 401)
    return answer.status_code == 200


async def events(services: Services, action: str = "session.ended") -> list[Any]:
    query = select(audit_log).where(audit_log.c.action == action)
    async with services.database.read() as connection:
        return list((await connection.execute(query)).all())


async def ties(services: Services) -> list[Any]:
    async with services.database.read() as connection:
        return list((await connection.execute(select(oidc_sessions))).all())


async def test_a_session_ends_with_the_one_at_the_provider(
    browser: Browser, services: Services, provider: MiniOidc
) -> None:
    await browser.sign_in()
    answer = await log_out(browser, provider.logout_token(only_login(provider)))
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["cache-control"] == "no-store"
    assert not await signed_in(browser)
    [event] = await events(services)
    assert (event.actor_kind, event.outcome) == ("system", "succeeded")
    assert "signed out at the identity provider" in event.details


async def test_only_the_session_that_is_named_ends(
    browser: Browser, services: Services, account: Account, provider: MiniOidc
) -> None:
    async with browsing(services) as other, browsing(services) as stranger:
        await browser.sign_in()
        login = only_login(provider)
        await other.sign_in()
        await join(services, account, "viewer", email="eve@example.com")
        provider.subject, provider.email = "subject-2", "eve@example.com"
        await stranger.sign_in()
        await log_out(browser, provider.logout_token(login, sub=None))
        found = [await signed_in(each) for each in (browser, other, stranger)]
        assert found == [False, True, True]


async def test_without_a_session_all_of_the_subject_end(
    browser: Browser, services: Services, account: Account, provider: MiniOidc
) -> None:
    """But those that began by a link in a mail: they are none of the provider's."""
    linked = await join(services, account, "viewer", email="bob@example.com")
    async with browsing(services) as other, browsing(services) as stranger:
        await browser.sign_in()
        await other.sign_in()
        provider.subject, provider.email = "subject-2", "bob@example.com"
        await stranger.sign_in()
        await log_out(browser, provider.logout_token(None, sub="subject-1"))
        found = [await signed_in(each) for each in (browser, other, stranger)]
        assert found == [False, False, True]
        await log_out(browser, provider.logout_token(None, sub="subject-2"))
        assert not await signed_in(stranger)
    answer = await browser.client.get("/v1/auth/session", headers=bearer(linked))
    assert answer.status_code == 200


async def test_a_session_that_the_provider_did_not_name_ends_with_any_of_its_subject(
    browser: Browser, provider: MiniOidc
) -> None:
    provider.claims["sid"] = None
    await browser.sign_in()
    answer = await log_out(browser, provider.logout_token(None, sub="subject-2", sid="named"))
    assert answer.status_code == 200
    assert await signed_in(browser)
    await log_out(browser, provider.logout_token(None, sub="subject-1", sid="named"))
    assert not await signed_in(browser)


async def test_a_session_of_nobody_here_is_no_fault(browser: Browser, provider: MiniOidc) -> None:
    await browser.sign_in()
    answer = await log_out(browser, provider.logout_token(None, sid="unknown"))
    assert answer.status_code == 200
    assert await signed_in(browser)


async def test_a_logout_token_is_good_once(
    browser: Browser, services: Services, provider: MiniOidc
) -> None:
    await browser.sign_in()
    token = provider.logout_token(None, sub="subject-1")
    assert (await log_out(browser, token)).status_code == 200
    await browser.sign_in()
    answer = await log_out(browser, token)
    assert answer.status_code == 400
    assert answer.json()["error"] == "invalid_request"
    assert await signed_in(browser)


async def test_of_the_same_token_at_once_one_counts(
    browser: Browser, services: Services, provider: MiniOidc
) -> None:
    await browser.sign_in()
    token = provider.logout_token(only_login(provider))
    answers = await asyncio.gather(*(log_out(browser, token) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200, 400, 400, 400, 400]
    assert len(await events(services)) == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil.example.com"},
        {"iss": None},
        {"aud": "another-client"},
        {"aud": None},
        {"iat": None},
        {"iat": NOW - 361},
        {"iat": NOW + 61},
        {"exp": NOW - 61},
        {"exp": "soon"},
        {"jti": None},
        {"jti": ""},
        {"jti": 7},
        {"events": None},
        {"events": {}},
        {"events": [LOGOUT_EVENT]},
        {"events": {LOGOUT_EVENT: True}},
        {"events": {"http://schemas.openid.net/event/other": {}}},
        {"nonce": "n"},
        {"sub": None, "sid": None},
        {"sub": 7},
        {"sid": ["a"]},
    ],
    ids=str,
)
async def test_a_logout_token_that_says_something_else_ends_nothing(
    browser: Browser, provider: MiniOidc, claims: dict[str, Any]
) -> None:
    await browser.sign_in()
    answer = await log_out(browser, provider.logout_token(only_login(provider), **claims))
    assert answer.status_code == 400
    assert await signed_in(browser)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "claims", [{"exp": None}, {"iat": NOW - 300}, {"aud": ["formflow-client"]}]
)
async def test_a_logout_token_that_says_enough_counts(
    browser: Browser, provider: MiniOidc, claims: dict[str, Any]
) -> None:
    await browser.sign_in()
    answer = await log_out(browser, provider.logout_token(only_login(provider), **claims))
    assert answer.status_code == 200
    assert not await signed_in(browser)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_an_id_token_is_no_logout_token(browser: Browser, provider: MiniOidc) -> None:
    seen: list[str] = []

    def noted(claims: Any) -> str:
        seen.append(provider.sign(claims))
        return seen[-1]

    provider.forge = noted
    await browser.sign_in()
    assert (await log_out(browser, seen[0])).status_code == 400
    assert await signed_in(browser)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_somebody_elses_logout_token_ends_nothing(
    browser: Browser, provider: MiniOidc, clock: ManualClock
) -> None:
    await browser.sign_in()
    login = only_login(provider)
    provider.published = [provider.key.as_dict(private=False)]
    for kid in ("key-1", "key-2"):
        provider.rotate(kid, other_key("EC", kid))
        assert (await log_out(browser, provider.logout_token(login))).status_code == 400
    assert await signed_in(browser)
    provider.published = None
    clock.advance(PAUSE_SECONDS)
    assert (await log_out(browser, provider.logout_token(login))).status_code == 200


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400),
        (b"logout_token=", 400),
        (b"logout_token=x", 400),
        (b"logout_token=a&logout_token=b", 400),
        (b"{}", 400),
        (b"\xff\xfe", 400),
        (b"a=1&" * 50, 400),
        (b"logout_token=" + b"x" * 200_000, 400),
    ],
    ids=range(8),
)
async def test_a_request_without_a_token_is_refused(
    browser: Browser, content: bytes, status: int
) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await browser.client.post(LOGOUT, content=content, headers=headers)
    assert answer.status_code == status
    assert (await browser.client.get(LOGOUT)).status_code == 405


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_bad_tokens_have_a_rate_and_good_ones_none(
    provider: MiniOidc, database_url: str, clock: ManualClock
) -> None:
    settings = {"api_anonymous_per_minute": 5, "sign_up": "open"}
    async with services_with(provider, database_url, clock, **settings) as services:
        async with browsing(services) as browser:
            await browser.sign_in()
            clock.advance(60)
            bad = [(await log_out(browser, "x")).status_code for _ in range(7)]
            assert bad == [400] * 5 + [429] * 2
            answer = await log_out(browser, provider.logout_token(only_login(provider)))
            assert answer.status_code == 200
    assert len(provider.logins) == 1


async def test_a_session_goes_on_while_the_provider_says_so(
    browser: Browser,
    services: Services,
    provider: MiniOidc,
    refresh: Refresher,
    clock: ManualClock,
) -> None:
    await browser.sign_in()
    [before] = await ties(services)
    assert (await refresh.refresh()).renewed == []
    for number in range(3):
        clock.advance(DUE_SECONDS)
        assert len((await refresh.refresh()).renewed) == 1
        assert provider.refreshed == number + 1
        assert (await refresh.refresh()).renewed == []
        assert await signed_in(browser)
    [after] = await ties(services)
    assert after.refresh_token != before.refresh_token
    [token] = provider._refresh_tokens
    assert token not in after.refresh_token


@pytest.mark.parametrize("sid", ["named", None])
async def test_a_session_ends_when_its_own_refresh_token_is_refused(
    browser: Browser,
    services: Services,
    provider: MiniOidc,
    refresh: Refresher,
    clock: ManualClock,
    sid: str | None,
) -> None:
    provider.claims["sid"] = sid
    async with browsing(services) as other:
        await browser.sign_in()
        provider.end(only_login(provider))
        await other.sign_in()
        assert await signed_in(browser)
        clock.advance(DUE_SECONDS)
        outcome = await refresh.refresh()
        assert (len(outcome.renewed), len(outcome.refused)) == (1, 1)
        assert not await signed_in(browser)
        assert await signed_in(other)
    [event] = await events(services)
    assert "refused by the identity provider" in event.details


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (500, "server_error"),
        (503, "invalid_grant"),
        (429, "slow_down"),
        (401, "invalid_client"),
        (400, "invalid_request"),
        (400, "unauthorized_client"),
        (403, "invalid_grant"),
        (200, "invalid_grant"),
    ],
)
async def test_whatever_else_is_wrong_ends_nothing(
    browser: Browser,
    provider: MiniOidc,
    refresh: Refresher,
    clock: ManualClock,
    status: int,
    error: str,
) -> None:
    await browser.sign_in()
    provider.status, provider.token_error = status, {"error": error}
    for _ in range(3):
        clock.advance(DUE_SECONDS)
        outcome = await refresh.refresh()
        assert (outcome.renewed, outcome.refused, len(outcome.unclear)) == ([], [], 1)
        assert await signed_in(browser)
    provider.token_error = {}
    clock.advance(DUE_SECONDS)
    assert len((await refresh.refresh()).renewed) == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("mode", [mode for mode in Mode if mode is not Mode.GOOD])
async def test_a_provider_that_is_away_ends_nothing(
    browser: Browser,
    provider: MiniOidc,
    refresh: Refresher,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
    mode: Mode,
) -> None:
    await browser.sign_in()
    monkeypatch.setattr("backend.oidc.calls.CALL_SECONDS", 0.3)
    provider.modes["token"] = mode
    clock.advance(DUE_SECONDS)
    outcome = await refresh.refresh()
    assert (outcome.renewed, outcome.refused, len(outcome.unclear)) == ([], [], 1)
    assert await signed_in(browser)


async def test_without_a_refresh_token_the_session_has_its_own_end(
    browser: Browser, services: Services, provider: MiniOidc, refresh: Refresher, clock: ManualClock
) -> None:
    provider.gives_refresh_tokens = False
    await browser.sign_in()
    clock.advance(DUE_SECONDS)
    before = len(provider.calls)
    await refresh.refresh()
    assert len(provider.calls) == before
    assert await signed_in(browser)


async def test_of_two_backends_one_uses_a_refresh_token(
    browser: Browser, services: Services, provider: MiniOidc, clock: ManualClock
) -> None:
    """A provider that sees one twice takes it for stolen."""
    second = create_services(services.settings, clock, services.database, hash_cost=4)
    async with AsyncExitStack() as stack:
        for _ in range(12):
            await (await stack.enter_async_context(browsing(services))).sign_in()
        clock.advance(DUE_SECONDS)
        backends = [provider_of(each).refresher for each in (services, second)]
        outcomes = await asyncio.gather(*(each.refresh() for each in backends * 2))
    assert sum(len(outcome.renewed) for outcome in outcomes) == 12
    assert [outcome.refused for outcome in outcomes] == [[]] * 4
    assert provider.refreshed == 12
    await provider_of(second).close()


async def test_a_session_that_is_over_is_not_refreshed_and_forgotten(
    browser: Browser,
    services: Services,
    provider: MiniOidc,
    refresh: Refresher,
    clock: ManualClock,
) -> None:
    await browser.sign_in()
    headers = {"Authorization": f"Bearer {browser.token}"}
    await browser.client.delete("/v1/auth/session", headers=headers)
    clock.advance(DUE_SECONDS)
    await refresh.refresh()
    assert provider.refreshed == 0
    await refresh.sweep()
    assert await ties(services) == []


async def test_what_is_in_use_is_kept_and_what_is_idle_forgotten(
    browser: Browser, services: Services, refresh: Refresher, clock: ManualClock
) -> None:
    await browser.sign_in()
    clock.advance(2 * 3600)
    await refresh.sweep()
    assert len(await ties(services)) == 1
    async with services.database.read() as connection:
        used = (await connection.execute(select(oidc_used))).all()
    assert used == []
    clock.advance(1)
    await refresh.sweep()
    assert await ties(services) == []


async def test_a_token_sealed_with_another_key_ends_nothing(
    browser: Browser, services: Services, refresh: Refresher, clock: ManualClock
) -> None:
    await browser.sign_in()
    async with services.database.write() as connection:
        await connection.execute(update(oidc_sessions).values(refresh_token=secrets.token_hex()))
    clock.advance(DUE_SECONDS)
    outcome = await refresh.refresh()
    assert len(outcome.unclear) == 1
    assert "FORMFLOW_SECRET_KEY" in outcome.unclear[0]
    assert await signed_in(browser)


async def test_what_is_under_way_is_finished_when_the_server_stops(
    browser: Browser,
    services: Services,
    provider: MiniOidc,
    refresh: Refresher,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A refresh token that the provider has replaced must not be lost."""
    monkeypatch.setattr(refresher, "INTERVAL_SECONDS", 0.0)
    await browser.sign_in()
    clock.advance(DUE_SECONDS)
    running = asyncio.create_task(refresh.run())
    while provider.calls.count("token") < 2:
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait([running])
    await refresh.finish()
    clock.advance(DUE_SECONDS)
    outcome = await refresh.refresh()
    assert (len(outcome.renewed), outcome.refused) == (1, [])
    async with services.database.read() as connection:
        [session] = await connection.execute(
            select(sessions).join(oidc_sessions, oidc_sessions.c.session_id == sessions.c.id)
        )
    assert session.ended_at is None
