"""No secret is in any table: each is made recognisable, used, refused, and then looked for."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from backend.changes import create_state
from backend.db import Database
from backend.management import Services, create_services
from backend.tables import metadata
from contracts.keys import KeyKind, mint_key, parse_key
from contracts.runtime.settings import load_settings
from tests.backend.builders import create_form
from tests.support.clock import ManualClock

pytestmark = pytest.mark.asyncio

TURNSTILE_SECRET = "0x4AAAAAAAcanaryOfTheTurnstileSecret"
PASSWORD = "canary-password-sent-by-mistake"
TOKEN = "canary-token-of-a-webhooks-receiver"


@pytest_asyncio.fixture
async def services(database_url: str, clock: ManualClock) -> AsyncIterator[Services]:
    """Services that can keep secrets."""
    settings = load_settings(
        environ={}, database_url=database_url, secret_key="a-secret-key-of-the-canary"
    )
    database = Database(settings.sqlalchemy_url())
    async with database.write() as connection:
        await create_state(connection)
    yield create_services(settings, clock, database, hash_cost=4)
    await database.close()


async def everything_stored(services: Services) -> str:
    async with services.database.read() as connection:
        tables = [
            (await connection.execute(table.select())).all() for table in metadata.sorted_tables
        ]
    return str(tables)


def secret_of(text: str) -> str:
    """The secret part of a key; of anything else, all."""
    key = parse_key(text)
    return text if key is None else key.secret


class Manager:
    """Calls the API and collects the secrets that it shows or is shown."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self.secrets = [TURNSTILE_SECRET, PASSWORD, TOKEN]

    async def create(self, path: str, body: Any) -> dict[str, Any]:
        headers = {"Idempotency-Key": f"canary-{len(self.secrets)}"}
        answer = await self._client.post(path, json=body, headers=headers)
        assert answer.status_code == 201, answer.text
        document: dict[str, Any] = answer.json()
        shown = document.get("key") or document.get("invitation") or document["secret"]
        self.secrets.append(secret_of(shown))
        return document

    async def present(self, credential: str, **headers: str) -> None:
        headers["Authorization"] = f"Bearer {credential}"
        answer = await self._client.get("/v1/forms", headers=headers)
        assert answer.status_code == 403
        self.secrets.append(secret_of(credential))


async def test_a_secret_is_in_no_table_and_in_no_event(
    client: httpx.AsyncClient, services: Services
) -> None:
    manager = Manager(client)
    form = await create_form(
        client,
        turnstile_secret=TURNSTILE_SECRET,
        turnstile_site_key="0x4AAAAAAAsite",
        turnstile_enabled=True,
    )
    change = {"turnstile_secret": f"{TURNSTILE_SECRET}2"}
    answer = await client.patch(f"/v1/forms/{form['id']}", json=change)
    assert answer.status_code == 200, answer.text
    first = await manager.create("/v1/api-keys", {"name": "a", "kind": "management"})
    second = await manager.create(f"/v1/api-keys/{first['id']}/rotate", {})
    await manager.create("/v1/members", {"email": "a@example.com", "role": "viewer"})
    headers = {"authorization": f"Bearer {TOKEN}"}
    hook = {"url": "https://example.com/hook", "headers": headers}
    webhook = await manager.create(f"/v1/forms/{form['id']}/webhooks", hook)
    more = {"headers": headers | {"x-token": TOKEN}}
    answer = await client.patch(f"/v1/webhooks/{webhook['id']}", json=more)
    assert answer.status_code == 200, answer.text
    rotated = await client.post(f"/v1/webhooks/{webhook['id']}/rotate-secret")
    manager.secrets.append(rotated.json()["secret"])
    assert (await client.post("/v1/keys/leaked", json={"key": second["key"]})).is_success
    unknown = mint_key(KeyKind.MANAGEMENT).text
    await manager.present(second["key"])
    await manager.present(unknown, **{"User-Agent": f"curl {unknown}"})
    await manager.present(unknown[:-1], **{"User-Agent": unknown[:-1]})
    await manager.present(PASSWORD)
    await services.refusals.flush()

    stored = await everything_stored(services)
    assert form["id"] in stored
    assert [secret for secret in manager.secrets if secret in stored] == []
    for path in ("/v1/audit-log?limit=100", "/v1/audit-log.json", "/v1/audit-log.csv"):
        log = (await client.get(path)).text
        assert "credential.refused" in log
        assert [secret for secret in manager.secrets if secret in log] == []


async def test_a_key_that_somebody_pasted_as_a_name_is_cut(client: httpx.AsyncClient) -> None:
    pasted = mint_key(KeyKind.MANAGEMENT)
    members = {"name": f"is {pasted.text}", "kind": "management"}
    key = (await client.post("/v1/api-keys", json=members)).json()
    client.headers["Authorization"] = f"Bearer {key['key']}"
    await create_form(client, name=pasted.text)
    for path in ("/v1/audit-log", "/v1/audit-log.json", "/v1/audit-log.csv"):
        log = (await client.get(path)).text
        assert f"is {pasted.display}…" in log
        assert pasted.secret not in log
