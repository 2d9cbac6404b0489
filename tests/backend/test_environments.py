from dataclasses import replace

import httpx
import pytest
from sqlalchemy import update

from backend.access import Reach
from backend.management import Services
from backend.tables import api_keys, forms
from contracts.problems import Rejected
from tests.backend.builders import Account, add_account, add_form

BUILT_IN = {"production", "development", "staging"}

pytestmark = pytest.mark.asyncio


async def names(client: httpx.AsyncClient) -> set[str]:
    answer = await client.get("/v1/environments")
    return {environment["name"] for environment in answer.json()["data"]}


async def add(client: httpx.AsyncClient, name: str = "preview") -> str:
    answer = await client.post("/v1/environments", json={"name": name})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def test_every_account_has_three_and_may_add_more(client: httpx.AsyncClient) -> None:
    assert await names(client) == BUILT_IN
    id = await add(client)
    assert await names(client) == BUILT_IN | {"preview"}
    read = (await client.get(f"/v1/environments/{id}")).json()
    assert (read["name"], read["is_built_in"]) == ("preview", False)
    assert (await client.delete(f"/v1/environments/{id}")).status_code == 204
    assert await names(client) == BUILT_IN
    assert (await client.delete(f"/v1/environments/{id}")).status_code == 404


async def test_a_name_is_taken_once_and_has_a_shape(client: httpx.AsyncClient) -> None:
    await add(client)
    assert (await client.post("/v1/environments", json={"name": "preview"})).status_code == 409
    for name in ("", "Preview", "-x", "x" * 33, "a b", None):
        assert (await client.post("/v1/environments", json={"name": name})).status_code == 422


async def test_an_account_has_twenty_at_most(client: httpx.AsyncClient) -> None:
    for number in range(17):
        await add(client, f"preview-{number}")
    answer = await client.post("/v1/environments", json={"name": "one-more"})
    assert (answer.status_code, "20" in answer.json()["detail"]) == (409, True)


async def test_the_built_in_ones_stay(client: httpx.AsyncClient) -> None:
    for environment in (await client.get("/v1/environments")).json()["data"]:
        assert environment["is_built_in"] is True
        assert (await client.delete(f"/v1/environments/{environment['id']}")).status_code == 409


async def test_one_that_is_used_stays(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    id = await add(client)
    form = await add_form(services, account)
    async with services.database.write() as connection:
        await connection.execute(
            update(forms).where(forms.c.id == form.id).values(environment="preview")
        )
    assert (await client.delete(f"/v1/environments/{id}")).status_code == 409
    assert (await client.delete(f"/v1/forms/{form.id}")).status_code == 204
    assert (await client.delete(f"/v1/environments/{id}")).status_code == 204


async def test_one_with_a_key_in_force_stays(client: httpx.AsyncClient, services: Services) -> None:
    id = await add(client)
    created = await client.post("/v1/api-keys", json={"name": "k", "kind": "submission"})
    key_id = created.json()["id"]
    async with services.database.write() as connection:
        await connection.execute(
            update(api_keys).where(api_keys.c.id == key_id).values(environment="preview")
        )
    assert (await client.delete(f"/v1/environments/{id}")).status_code == 409
    assert (await client.delete(f"/v1/api-keys/{key_id}")).status_code == 204
    assert (await client.delete(f"/v1/environments/{id}")).status_code == 204


async def test_anothers_are_missing(client: httpx.AsyncClient, services: Services) -> None:
    other = await add_account(services)
    theirs = await services.environments.create(other.principal, "theirs")
    assert "theirs" not in await names(client)
    assert (await client.delete(f"/v1/environments/{theirs.id}")).status_code == 404


async def test_a_restricted_credential_sees_its_own_and_changes_none(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    id = await add(client)
    bound = replace(account.principal, reach=Reach(environment="staging"))
    [seen] = await services.environments.list(bound, None, 50)
    assert seen.name == "staging"
    for call, problem in (
        (services.environments.create(bound, "more"), "insufficient-scope"),
        (services.environments.delete(bound, id), "not-found"),
        (services.environments.delete(bound, seen.id), "insufficient-scope"),
    ):
        with pytest.raises(Rejected, match=problem):
            await call
