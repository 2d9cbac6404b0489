import httpx
import pytest

from backend.management import Services
from tests.backend.builders import Account, add_form, add_submission, create_key

pytestmark = pytest.mark.asyncio


async def ids(client: httpx.AsyncClient, form_id: str, **query: str) -> list[str]:
    answer = await client.get(f"/v1/forms/{form_id}/submissions", params=query)
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["data"]]


async def test_a_submission_is_read_as_it_was_stored(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    payload = {"b": "1", "a": ["x", "y"], "nul": "a\0b", "": "é\u2028"}
    id = await add_submission(services, form, payload=payload)
    assert (await client.get(f"/v1/submissions/{id}")).json() == {
        "id": id,
        "form_id": form.id,
        "status": "received",
        "payload": payload,
        "files": [],
        "meta": {"ip": "192.0.2.1"},
        "trace": {"checks": [], "charged": 1},
        "received_at": "2026-05-28T20:26:41.000Z",
    }


async def test_the_order_of_the_fields_is_kept(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    id = await add_submission(services, form, payload='{"z":"1","a":"2","m":"3"}')
    assert list((await client.get(f"/v1/submissions/{id}")).json()["payload"]) == ["z", "a", "m"]


async def test_a_submission_posted_with_a_key_names_the_keys_id(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    key = await create_key(client)
    public_part = key["key"].removeprefix("ff_sub_")[:12]
    id = await add_submission(services, form, key_id=public_part)
    meta = (await client.get(f"/v1/submissions/{id}")).json()["meta"]
    assert meta == {"ip": "192.0.2.1", "key_id": key["id"]}


async def test_spam_is_listed_only_when_asked_for(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    good = await add_submission(services, form)
    spam = await add_submission(services, form, status="spam")
    assert await ids(client, form.id) == [good]
    assert await ids(client, form.id, status="spam") == [spam]
    assert await ids(client, form.id, status="all") == [spam, good]


async def test_since_is_inclusive_and_until_exclusive(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    first, second, third = [await add_submission(services, form) for _ in range(3)]
    moment = "2026-05-28T20:26:42Z"
    assert await ids(client, form.id, since=moment) == [third, second]
    assert await ids(client, form.id, until=moment) == [first]
    assert await ids(client, form.id, since="2026-05-28T22:26:42.001+02:00") == [third]


async def test_pages_follow_each_other_without_gap_or_repeat(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    first, second, third = [await add_submission(services, form) for _ in range(3)]
    path = f"/v1/forms/{form.id}/submissions"
    page = (await client.get(path, params={"limit": 2})).json()
    assert [item["id"] for item in page["data"]] == [third, second]
    rest = (await client.get(path, params={"limit": 2, "cursor": page["next_cursor"]})).json()
    assert [item["id"] for item in rest["data"]] == [first]
    assert rest["next_cursor"] is None


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "query",
    [
        "status=queued",
        "since=yesterday",
        "since=2026-05-28",
        "since=2026-05-28T20:26:42",
        "until=2026-13-01T00:00:00Z",
        "until=0",
        "cursor=Zm9v",
    ],
)
async def test_a_bad_filter_is_422(
    client: httpx.AsyncClient, services: Services, account: Account, query: str
) -> None:
    form = await add_form(services, account)
    answer = await client.get(f"/v1/forms/{form.id}/submissions?{query}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == query.split("=")[0]


async def test_a_deleted_submission_is_gone(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    id = await add_submission(services, form)
    kept = await add_submission(services, form)
    assert (await client.delete(f"/v1/submissions/{id}")).status_code == 204
    assert (await client.delete(f"/v1/submissions/{id}")).status_code == 404
    assert await ids(client, form.id) == [kept]


async def test_a_held_submission_is_listed_apart_until_it_is_released(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    id = await add_submission(services, form, status="held")
    path = f"/v1/forms/{form.id}/submissions"
    assert (await client.get(path)).json()["data"] == []
    assert len((await client.get(path, params={"status": "held"})).json()["data"]) == 1
    released = await client.patch(f"/v1/submissions/{id}", json={"status": "received"})
    assert released.json()["status"] == "received"
    assert (await client.patch(f"/v1/submissions/{id}", json={})).json() == released.json()
    assert len((await client.get(path)).json()["data"]) == 1


async def test_the_decision_trace_is_read_as_it_was_written(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    id = await add_submission(services, form, trace='[["form","live",3],["key","valid",1]]')
    trace = (await client.get(f"/v1/submissions/{id}")).json()["trace"]
    assert trace["checks"] == [
        {"check": "form", "verdict": "live", "microseconds": 3},
        {"check": "key", "verdict": "valid", "microseconds": 1},
    ]
