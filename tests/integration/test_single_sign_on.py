"""Signing in to a running product at an identity provider, and out with it."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import sync_playwright

from contracts.runtime.clock import SystemClock
from tests.integration.test_browser import FLAGS
from tests.support.mini_oidc import CLIENT_ID, CLIENT_SECRET, MiniOidc, running_provider
from tests.support.processes import Product

OWNER = "ada@example.com"


@pytest.fixture
def provider() -> Iterator[MiniOidc]:
    with running_provider(SystemClock()) as provider:
        yield provider


@pytest.fixture
def product(tmp_path: Path, provider: MiniOidc) -> Iterator[Product]:
    """A running product whose owner signs in at the provider."""
    running = Product(
        tmp_path / "data",
        OWNER_EMAIL=OWNER,
        OIDC_ISSUER=provider.issuer,
        OIDC_CLIENT_ID=CLIENT_ID,
        OIDC_CLIENT_SECRET=CLIENT_SECRET,
        OIDC_NAME="Acme ID",
    )
    try:
        yield running.start()
    finally:
        running.stop()


def test_a_session_begins_and_ends_with_the_providers(product: Product, provider: MiniOidc) -> None:
    with httpx.Client(follow_redirects=True, timeout=20.0, trust_env=False) as browser:
        page = browser.get(f"{product.url}/sign-in/oidc?next=/forms")
        assert (page.status_code, page.url.path) == (200, "/forms")
        [login] = provider.logins.values()
        tampered = provider.logout_token(login, aud="another-client")
        url = f"{product.url}/v1/auth/oidc/backchannel-logout"
        with product.client() as server:
            assert server.post(url, data={"logout_token": tampered}).status_code == 400
            assert browser.get(f"{product.url}/overview").url.path == "/overview"
            token = provider.logout_token(login)
            assert server.post(url, data={"logout_token": token}).status_code == 200
        assert browser.get(f"{product.url}/overview").url.path == "/sign-in"
    with product.manager() as manager:
        query = {"action": "session.ended"}
        [event] = manager.get("/v1/audit-log", params=query).raise_for_status().json()["data"]
    assert event["actor"]["kind"] == "system"
    for secret in ("code=", token, login.sid, login.nonce):
        assert secret not in product.log


def test_a_browser_signs_in_and_out(product: Product, provider: MiniOidc, chromium: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page()
        page.goto(f"{product.url}/forms?page=2")
        page.click("text=Continue with Acme ID")
        page.wait_for_url(f"{product.url}/forms?page=2")
        names = {cookie["name"] for cookie in page.context.cookies()}
        assert names == {"formflow_session"}
        page.goto(f"{product.url}/sign-in?notice=signed-out")
        page.click("text=Sign out of Acme ID, too")
        page.wait_for_url(f"{product.url}/sign-in")
        assert all(login.is_over for login in provider.logins.values())
        browser.close()
