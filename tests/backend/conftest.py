"""A backend in this process, on each engine, and clients that call it."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from starlette.applications import Starlette

from backend.api import finish_app
from backend.changes import create_state
from backend.db import Database
from backend.management import Services, create_services, management_routes
from contracts.runtime.settings import load_settings
from tests.backend.builders import Account, add_account
from tests.support.clock import ManualClock

OPERATOR_TOKEN = "operator-token-of-the-tests"
INTERNAL_TOKEN = "internal-token-of-the-tests"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest_asyncio.fixture
async def services(
    database_url: str, clock: ManualClock, tmp_path: Path
) -> AsyncIterator[Services]:
    settings = load_settings(
        environ={},
        database_url=database_url,
        data_dir=tmp_path,
        internal_token=INTERNAL_TOKEN,
        secret_key="a-secret-key-for-tests",
        # Webhooks of the tests are on this machine.
        webhook_allow_http=True,
        webhook_allow_cidrs="127.0.0.0/8",
    )
    database = Database(settings.sqlalchemy_url())
    async with database.write() as connection:
        await create_state(connection)
    yield create_services(settings, clock, database, OPERATOR_TOKEN, hash_cost=4)
    await database.close()


@pytest_asyncio.fixture
async def anonymous(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a credential."""
    app = Starlette(routes=management_routes(services))
    finish_app(app, services.settings.problem_base, services.clock, services)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://backend") as client:
        yield client


@pytest_asyncio.fixture
async def account(services: Services) -> Account:
    return await add_account(services)


@pytest_asyncio.fixture
async def client(anonymous: httpx.AsyncClient, account: Account) -> httpx.AsyncClient:
    """A client with the management key of ``account``."""
    anonymous.headers["Authorization"] = f"Bearer {account.key}"
    return anonymous
