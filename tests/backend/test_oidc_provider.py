"""A provider that is away, slow, or says what it should not."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from backend.management import Services
from backend.oidc import calls
from backend.oidc.kept import KEPT_SECONDS, PAUSE_AFTER_FAILURE_SECONDS
from backend.oidc.registration import Registration
from contracts.runtime.settings import SettingsError, load_settings
from tests.backend.builders import Account
from tests.backend.oidc_builders import Browser, browsing, query_of, services_with
from tests.backend.session_builders import join
from tests.support.clock import ManualClock
from tests.support.mini_oidc import MiniOidc, Mode, running_provider

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
]
FAULTS = [mode for mode in Mode if mode is not Mode.GOOD]


@pytest.fixture
def provider(clock: ManualClock) -> Iterator[MiniOidc]:
    with running_provider(clock) as provider:
        yield provider


@pytest_asyncio.fixture
async def services(
    provider: MiniOidc, database_url: str, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Services]:
    monkeypatch.setattr(calls, "CALL_SECONDS", 0.3)
    async with services_with(provider, database_url, clock) as services:
        yield services


@pytest_asyncio.fixture
async def browser(services: Services, account: Account) -> AsyncIterator[Browser]:
    """A browser; whom the provider signs in is a member."""
    await join(services, account, "editor", email="ada@example.com")
    async with browsing(services) as browser:
        yield browser


@pytest.mark.parametrize("mode", FAULTS)
async def test_metadata_that_cannot_be_read_send_nobody_anywhere(
    browser: Browser, provider: MiniOidc, clock: ManualClock, mode: Mode
) -> None:
    provider.modes["configuration"] = mode
    for _ in range(3):
        answer = await browser.client.get("/sign-in/oidc")
        assert answer.status_code == 503
        assert "cannot be reached" in answer.text
    assert provider.calls == ["configuration"]
    del provider.modes["configuration"]
    clock.advance(PAUSE_AFTER_FAILURE_SECONDS)
    assert (await browser.sign_in()).status_code == 303


@pytest.mark.parametrize("endpoint", ["token", "jwks", "userinfo"])
@pytest.mark.parametrize("mode", FAULTS)
async def test_an_endpoint_that_fails_signs_nobody_in(
    browser: Browser, provider: MiniOidc, clock: ManualClock, endpoint: str, mode: Mode
) -> None:
    provider.email_in_userinfo = True
    provider.modes[endpoint] = mode
    answer = await browser.sign_in()
    assert answer.status_code in (502, 503)
    assert browser.token == ""
    assert "elsewhere" not in provider.calls
    del provider.modes[endpoint]
    clock.advance(PAUSE_AFTER_FAILURE_SECONDS)
    assert (await browser.sign_in()).status_code == 303


async def test_a_provider_that_is_not_there(
    database_url: str, clock: ManualClock, provider: MiniOidc
) -> None:
    with running_provider(clock) as gone:
        pass
    async with services_with(gone, database_url, clock) as services, browsing(services) as browser:
        assert (await browser.client.get("/sign-in/oidc")).status_code == 503
        assert "Continue with" in (await browser.client.get("/sign-in")).text


async def test_metadata_are_kept_for_an_hour_and_longer_while_the_provider_is_away(
    browser: Browser, provider: MiniOidc, clock: ManualClock
) -> None:
    await browser.depart()
    clock.advance(KEPT_SECONDS - 1)
    await browser.depart()
    assert provider.calls.count("configuration") == 1
    clock.advance(1)
    provider.modes["configuration"] = Mode.STATUS
    await browser.depart()
    await browser.depart()
    assert provider.calls.count("configuration") == 2
    provider.modes.clear()
    provider.metadata["authorization_endpoint"] = f"{provider.issuer}/authorize?moved=1"
    clock.advance(PAUSE_AFTER_FAILURE_SECONDS)
    assert query_of(await browser.depart())["moved"] == "1"


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://evil.example.com"},
        {"issuer": None},
        {"authorization_endpoint": None},
        {"authorization_endpoint": "http://id.example.com/authorize"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"token_endpoint": "http://169.254.169.254/latest"},
        {"token_endpoint": 7},
        {"jwks_uri": "https://user:secret@id.example.com/"},
        {"jwks_uri": "file:///etc/passwd"},
        {"userinfo_endpoint": "ftp://id.example.com/"},
        {"end_session_endpoint": "https://id.example.com/#fragment"},
        {"end_session_endpoint": "https://[id/"},
        {"jwks_uri": "https://\u0131d.example.com/keys"},
    ],
    ids=str,
)
async def test_metadata_that_lead_astray_are_refused(
    browser: Browser, provider: MiniOidc, metadata: dict[str, Any]
) -> None:
    provider.metadata = metadata
    assert (await browser.client.get("/sign-in/oidc")).status_code == 503


@pytest.mark.usefixtures("database_url")
async def test_on_this_machine_only_is_http_good_enough() -> None:
    def registration(issuer: str) -> Registration:
        return Registration(issuer, "c", None, ("openid",), "Acme", "https://forms.example.com")

    public, local = registration("https://id.example.com"), registration("http://127.0.0.1:9")
    for url, is_public, is_local in (
        ("https://id.example.com/token", True, True),
        ("http://127.0.0.1:9/token", False, True),
        ("http://localhost/token", False, True),
        ("http://id.example.com/token", False, False),
        ("https://127.0.0.1.example.com/t", True, True),
        ("http://127.0.0.1@evil.example.com/", False, False),
        ("https:///token", False, False),
        ("https://id.example.com/a b\n", False, False),
        (None, False, False),
    ):
        assert (public.is_endpoint(url), local.is_endpoint(url)) == (is_public, is_local), url


@pytest.mark.usefixtures("database_url")
@pytest.mark.parametrize(
    "issuer",
    [
        "http://id.example.com",
        "ftp://id.example.com",
        "id.example.com",
        "https://id.example.com?tenant=1",
        "https://id.example.com/#a",
        "https://user@id.example.com",
        "http://localhost.example.com",
    ],
)
async def test_an_issuer_that_is_none_is_refused(issuer: str) -> None:
    with pytest.raises(SettingsError, match="FORMFLOW_OIDC_ISSUER"):
        load_settings(environ={}, oidc_issuer=issuer)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"oidc_client_id": None}, "FORMFLOW_OIDC_CLIENT_ID"),
        ({"secret_key": None}, "FORMFLOW_SECRET_KEY"),
    ],
)
async def test_a_setting_that_an_issuer_needs_is_asked_for(
    provider: MiniOidc,
    database_url: str,
    clock: ManualClock,
    settings: dict[str, None],
    complaint: str,
) -> None:
    with pytest.raises(SettingsError, match=complaint):
        async with services_with(provider, database_url, clock, **settings):
            pass


async def test_a_public_client_sends_its_name_and_no_secret(
    provider: MiniOidc, database_url: str, clock: ManualClock
) -> None:
    provider.secret = None
    settings = {"oidc_client_secret": None, "sign_up": "open"}
    async with services_with(provider, database_url, clock, **settings) as services:
        async with browsing(services) as browser:
            assert (await browser.sign_in()).status_code == 303


async def test_an_answer_that_is_too_long_is_none(browser: Browser, provider: MiniOidc) -> None:
    provider.metadata = {"padding": "x" * calls.ANSWER_BYTES_MAX}
    assert (await browser.client.get("/sign-in/oidc")).status_code == 503


async def test_endpoints_and_tokens_that_cannot_be_sent_sign_nobody_in(
    browser: Browser, provider: MiniOidc, clock: ManualClock
) -> None:
    provider.given = {"access_token": "é"}
    provider.email_in_userinfo = True
    assert (await browser.sign_in()).status_code == 503
    provider.given = {"access_token": "a\nb"}
    assert (await browser.sign_in()).status_code == 503
    provider.metadata = {"token_endpoint": provider.issuer + "/" + "x" * 70_000}
    clock.advance(KEPT_SECONDS)
    assert (await browser.sign_in()).status_code == 503
    assert browser.token == ""


async def test_a_wrong_secret_signs_nobody_in(browser: Browser, provider: MiniOidc) -> None:
    provider.secret = "another"
    answer = await browser.sign_in()
    assert answer.status_code == 503
    assert browser.token == ""
