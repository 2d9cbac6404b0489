import httpx
import pytest
from sqlalchemy import select

from backend.changes import read_state
from backend.management import Services
from backend.tables import api_keys
from contracts.keys import parse_key
from tests.backend.builders import create_key

pytestmark = pytest.mark.asyncio


async def test_a_key_is_shown_in_full_only_when_it_is_created(client: httpx.AsyncClient) -> None:
    created = await create_key(client)
    text = created.pop("key")
    assert parse_key(text) is not None
    assert (await client.get(f"/v1/api-keys/{created['id']}")).json() == created
    assert text not in (await client.get("/v1/api-keys")).text


async def test_a_key_has_these_members(client: httpx.AsyncClient) -> None:
    creator = (await client.get("/v1/api-keys")).json()["data"][0]
    created = await create_key(client)
    assert created == {
        "id": created["id"],
        "name": "a key",
        "kind": "submission",
        "prefix": created["key"][:12],
        "status": "active",
        "created_by": creator["id"],
        "created_at": "2026-05-28T20:26:40.000Z",
        "revoked_at": None,
        "key": created["key"],
    }


async def test_the_secret_is_stored_as_a_bcrypt_hash_only(
    client: httpx.AsyncClient, services: Services
) -> None:
    key = parse_key((await create_key(client))["key"])
    assert key is not None
    async with services.database.read() as connection:
        rows = (await connection.execute(select(api_keys))).all()
    assert all(row.secret_hash.startswith("$2b$04$") for row in rows)
    assert key.secret not in repr(rows)


async def test_a_revoked_key_is_refused_at_the_next_request(client: httpx.AsyncClient) -> None:
    key = await create_key(client, "management")
    headers = {"Authorization": f"Bearer {key['key']}"}
    assert (await client.get("/v1/forms", headers=headers)).status_code == 200
    assert (await client.delete(f"/v1/api-keys/{key['id']}")).status_code == 204
    refused = await client.get("/v1/forms", headers=headers)
    assert (refused.status_code, refused.json()["title"]) == (403, "The API key is not valid")


async def test_a_revoked_key_stays_in_the_list(client: httpx.AsyncClient) -> None:
    key = await create_key(client)
    await client.delete(f"/v1/api-keys/{key['id']}")
    listed = {item["id"]: item for item in (await client.get("/v1/api-keys")).json()["data"]}
    assert listed[key["id"]]["status"] == "revoked"
    assert listed[key["id"]]["revoked_at"] == "2026-05-28T20:26:40.000Z"


async def test_revoking_twice_changes_nothing_more(
    client: httpx.AsyncClient, services: Services
) -> None:
    key = await create_key(client)
    revisions = []
    for _ in range(2):
        assert (await client.delete(f"/v1/api-keys/{key['id']}")).status_code == 204
        async with services.database.read() as connection:
            revisions.append((await read_state(connection)).revision)
    assert revisions[0] == revisions[1]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "body",
    [{"name": "x"}, {"kind": "submission"}, {"name": "x", "kind": "live"}, {"name": "", "kind": 1}],
)
async def test_a_bad_key_request_is_422(client: httpx.AsyncClient, body: object) -> None:
    assert (await client.post("/v1/api-keys", json=body)).status_code == 422
