"""A backend whose members sign in at an identity provider, and browsers that do."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from starlette.applications import Starlette

from backend.api import finish_app
from backend.changes import create_state
from backend.console.console import console_routes
from backend.db import Database
from backend.management import OPERATIONS, Services, create_services, management_routes
from backend.oidc.backchannel import backchannel_routes
from backend.oidc.setup import ProviderServices
from backend.sessions.cookies import token_in
from contracts.runtime.settings import load_settings
from tests.support.clock import ManualClock
from tests.support.mini_oidc import CLIENT_ID, CLIENT_SECRET, Login, MiniOidc

ORIGIN = "http://console"
LOGOUT = "/v1/auth/oidc/backchannel-logout"
SECRET_KEY = "a-secret-key-for-the-provider"


@asynccontextmanager
async def services_with(
    provider: MiniOidc, database_url: str, clock: ManualClock, **settings: Any
) -> AsyncIterator[Services]:
    """Services whose members sign in at the provider."""
    own = {
        "database_url": database_url,
        "secret_key": SECRET_KEY,
        "public_url": ORIGIN,
        "oidc_issuer": provider.issuer,
        "oidc_client_id": CLIENT_ID,
        "oidc_client_secret": CLIENT_SECRET,
        "oidc_name": "Acme ID",
    }
    loaded = load_settings(environ={}, **(own | settings))
    database = Database(loaded.sqlalchemy_url())
    try:
        async with database.write() as connection:
            await create_state(connection)
        services = create_services(loaded, clock, database, hash_cost=4)
        yield services
        await provider_of(services).close()
    finally:
        await database.close()


def provider_of(services: Services) -> ProviderServices:
    """What the services do with the provider."""
    assert services.identity_provider is not None
    return services.identity_provider


@dataclass
class Browser:
    """A browser that keeps cookies and follows no redirect by itself; ``web`` reaches the provider
    over the network."""

    client: httpx.AsyncClient
    web: httpx.AsyncClient

    async def depart(self, next: str = "/overview") -> str:
        """Begins to sign in; the provider's page."""
        answer = await self.client.get("/sign-in/oidc", params={"next": next})
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    async def authorize(self, url: str) -> str:
        """Signs in at the provider; where it sends the browser back to."""
        answer = await self.web.get(url)
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]

    async def come_back(self, url: str) -> httpx.Response:
        """Goes where the provider sends the browser back to."""
        return await self.client.get(url)

    async def sign_in(self, next: str = "/overview") -> httpx.Response:
        """All of it."""
        return await self.come_back(await self.authorize(await self.depart(next)))

    @property
    def token(self) -> str:
        """The session's token."""
        cookies = "; ".join(f"{each.name}={each.value}" for each in self.client.cookies.jar)
        return token_in(cookies, secure=False) or ""

    async def session(self) -> httpx.Response:
        """What the API says of the browser's session."""
        headers = {"Authorization": f"Bearer {self.token}"}
        return await self.client.get("/v1/auth/session", headers=headers)


@asynccontextmanager
async def browsing(services: Services) -> AsyncIterator[Browser]:
    """A new browser."""
    routes = [
        *management_routes(services),
        *console_routes(services, OPERATIONS),
        *backchannel_routes(services),
    ]
    app = Starlette(routes=routes)
    finish_app(app, services.settings.problem_base, services.clock, services)
    transport = httpx.ASGITransport(app)
    async with (
        httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client,
        httpx.AsyncClient(trust_env=False) as web,
    ):
        yield Browser(client, web)


def query_of(url: str) -> dict[str, str]:
    """The query of a URL."""
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def only_login(provider: MiniOidc) -> Login:
    """The one session at the provider."""
    [login] = provider.logins.values()
    return login
