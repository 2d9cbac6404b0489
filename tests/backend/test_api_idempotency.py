"""``Idempotency-Key`` on unsafe requests of the management API."""

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update
from starlette.applications import Starlette

from backend.api import finish_app
from backend.db import Database
from backend.idempotency.service import ABANDONED_MS, Idempotency
from backend.idempotency.store import CLAIMED, COMMITTED
from backend.management import create_services, management_routes
from backend.services import Services
from backend.sweeper import Sweeper
from backend.tables import api_answers
from contracts.idempotency import BOUND_MS
from tests.backend.builders import Account, add_account, create_form, create_key
from tests.support.clock import ManualClock

pytestmark = pytest.mark.asyncio

KEY = {"Idempotency-Key": "once"}
DAY_SECONDS = BOUND_MS // 1000


async def post(
    client: httpx.AsyncClient, name: str = "Contact", path: str = "/v1/forms", **headers: str
) -> httpx.Response:
    return await client.post(path, json={"name": name}, headers=KEY | headers)


async def count_forms(client: httpx.AsyncClient) -> int:
    return len((await client.get("/v1/forms")).json()["data"])


def slug(answer: httpx.Response) -> str:
    return str(answer.json()["type"].rpartition("/")[2])


async def test_a_repetition_gets_the_first_answer_again(client: httpx.AsyncClient) -> None:
    first, again = await post(client), await post(client)
    assert first.status_code == again.status_code == 201
    assert again.content == first.content
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["content-type"] == "application/json"
    assert again.headers["cache-control"] == "no-store"
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-mismatch" not in again.headers
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert await count_forms(client) == 1


async def test_another_body_is_answered_alike_and_told(client: httpx.AsyncClient) -> None:
    first, again = await post(client), await post(client, "Another")
    assert again.content == first.content
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["idempotency-mismatch"] == "true"
    assert await count_forms(client) == 1


async def test_the_order_of_members_is_no_difference(client: httpx.AsyncClient) -> None:
    bodies = (b'{"name":"A","slug":"a"}', b'{ "slug":"a", "name":"A" }')
    headers = KEY | {"Content-Type": "application/json"}
    answers = [await client.post("/v1/forms", content=body, headers=headers) for body in bodies]
    assert answers[1].headers["idempotency-replayed"] == "true"
    assert "idempotency-mismatch" not in answers[1].headers


async def test_a_deletion_is_repeated_with_success(client: httpx.AsyncClient) -> None:
    form = await create_form(client)
    answers = [await client.delete(f"/v1/forms/{form['id']}", headers=KEY) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [204, 204]
    assert (await client.delete(f"/v1/forms/{form['id']}")).status_code == 404


async def test_another_path_method_or_credential_is_another_scope(
    client: httpx.AsyncClient, services: Services
) -> None:
    form = (await post(client)).json()
    changed = await client.patch(f"/v1/forms/{form['id']}", json={"name": "New"}, headers=KEY)
    assert changed.json()["name"] == "New"
    assert (await client.delete(f"/v1/forms/{form['id']}", headers=KEY)).status_code == 204
    second = await create_key(client, "management")
    other = await add_account(services)
    for credential in (f"Bearer {second['key']}", other.headers["Authorization"]):
        answer = await post(client, Authorization=credential)
        assert (answer.status_code, answer.json()["id"] == form["id"]) == (201, False)
        assert "idempotency-replayed" not in answer.headers


async def test_a_refusal_binds_nothing(client: httpx.AsyncClient) -> None:
    await create_form(client, slug="taken")
    refused = await client.post("/v1/forms", json={"name": "A", "slug": "taken"}, headers=KEY)
    assert refused.status_code == 409
    assert (await client.post("/v1/forms", json={}, headers=KEY)).status_code == 422
    made = await post(client)
    assert made.status_code == 201
    assert "idempotency-replayed" not in made.headers


async def test_a_key_is_free_after_a_day(
    client: httpx.AsyncClient, clock: ManualClock, services: Services
) -> None:
    first = await post(client)
    clock.advance(DAY_SECONDS - 1)
    assert (await post(client)).content == first.content
    clock.advance(1)
    assert (await post(client)).json()["id"] != first.json()["id"]
    clock.advance(DAY_SECONDS)
    assert await Sweeper(services.database, services.files, clock).sweep_keys() == 1


@pytest.mark.parametrize("key", ["a b", "ä", "x" * 256, "a\x7f"])
async def test_a_malformed_key_is_400(client: httpx.AsyncClient, key: str) -> None:
    headers = [(b"idempotency-key", key.encode())]
    answer = await client.post("/v1/forms", json={"name": "A"}, headers=headers)
    assert (answer.status_code, slug(answer)) == (400, "bad-idempotency-key")


async def test_two_keys_are_malformed_and_an_empty_one_is_none(client: httpx.AsyncClient) -> None:
    two = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    assert (await client.post("/v1/forms", json={"name": "A"}, headers=two)).status_code == 400
    for _ in range(2):
        answer = await client.post(
            "/v1/forms", json={"name": "A"}, headers={"Idempotency-Key": " "}
        )
        assert "idempotency-replayed" not in answer.headers
    assert await count_forms(client) == 2


async def test_at_once_one_is_made_and_every_caller_gets_it(client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(post(client) for _ in range(10)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("idempotency-replayed" in answer.headers for answer in answers) == 9
    assert await count_forms(client) == 1


async def test_at_once_through_several_processes_one_is_made(
    client: httpx.AsyncClient, services: Services, clock: ManualClock
) -> None:
    """Another process knows nothing of a claim but its row."""
    database = Database(services.database.url)
    other = create_services(services.settings, clock, database, hash_cost=4)
    app = Starlette(routes=management_routes(other))
    finish_app(app, services.settings.problem_base, clock, other)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://other", headers=client.headers
    ) as elsewhere:
        answers = await asyncio.gather(*(post(one) for one in (client, elsewhere) * 5))
    await database.close()
    made = [answer for answer in answers if answer.status_code == 201]
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len({answer.json()["id"] for answer in made}) == 1
    assert await count_forms(client) == 1


async def test_while_the_first_is_under_way_elsewhere_it_is_409(
    client: httpx.AsyncClient, services: Services, clock: ManualClock
) -> None:
    await _leave(services, client, CLAIMED)
    answer = await post(client)
    assert (answer.status_code, slug(answer)) == (409, "conflict")
    assert answer.headers["retry-after"] == "1"
    assert await count_forms(client) == 1
    clock.advance(ABANDONED_MS / 1000)
    assert (await post(client)).status_code == 201
    assert await count_forms(client) == 2


async def test_a_change_whose_answer_is_lost_is_not_made_again(
    client: httpx.AsyncClient, services: Services, clock: ManualClock
) -> None:
    await _leave(services, client, COMMITTED)
    clock.advance(ABANDONED_MS / 1000)
    answer = await post(client)
    assert (answer.status_code, slug(answer)) == (409, "conflict")
    assert await count_forms(client) == 1


async def _leave(services: Services, client: httpx.AsyncClient, status: int) -> None:
    """The row that a crash leaves behind at that stage."""
    await post(client)
    async with services.database.write() as connection:
        await connection.execute(update(api_answers).values(status=status, content="token"))


async def test_whoever_lost_the_key_commits_nothing(
    client: httpx.AsyncClient, services: Services, clock: ManualClock
) -> None:
    """A request so slow that another one has taken its key over."""
    create = services.forms.create

    async def slow(*arguments: Any) -> Any:
        async with services.database.write() as connection:
            await connection.execute(update(api_answers).values(content="another claim"))
        return await create(*arguments)

    object.__setattr__(services.forms, "create", slow)
    answer = await post(client)
    assert (answer.status_code, slug(answer)) == (409, "conflict")
    assert await count_forms(client) == 0


async def test_the_disk_cannot_tell_the_answer(
    client: httpx.AsyncClient, services: Services
) -> None:
    body = {"name": "a key", "kind": "submission"}
    made = await client.post("/v1/api-keys", json=body, headers=KEY)
    again = await client.post("/v1/api-keys", json=body, headers=KEY)
    assert again.json()["key"] == made.json()["key"]
    async with services.database.read() as connection:
        rows = (await connection.execute(select(api_answers))).all()
    assert len(rows) == 1
    assert made.json()["key"] not in str(rows)
    assert "once" not in str(rows)


async def test_a_restart_forgets_nothing(
    client: httpx.AsyncClient, services: Services, clock: ManualClock
) -> None:
    first = await post(client)
    object.__setattr__(services, "idempotency", Idempotency(services.database, clock))
    assert (await post(client)).content == first.content


async def test_a_key_means_nothing_on_what_only_reads(
    client: httpx.AsyncClient, account: Account
) -> None:
    assert await count_forms(client) == 0
    await create_form(client)
    answers = [await client.get("/v1/forms", headers=KEY) for _ in range(2)]
    assert all("idempotency-replayed" not in answer.headers for answer in answers)
