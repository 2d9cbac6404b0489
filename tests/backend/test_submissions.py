from dataclasses import replace

import httpx
import pytest
from sqlalchemy import insert, select

from backend.access import Reach
from backend.management import Services
from backend.submissions.store import Filter, Forms
from backend.tables import audit_log, submission_aliases
from contracts.ids import new_id
from contracts.runtime.clock import iso
from tests.backend.builders import Account, add_account, add_form, add_submission, create_key
from tests.support.clock import ManualClock

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
        "read": False,
        "payload": payload,
        "files": [],
        "meta": {"ip": "192.0.2.1"},
        "trace": {
            "checks": [],
            "charged": 1,
            "deliveries": {
                "waiting": False,
                "pending": 0,
                "delivered": 0,
                "failed": 0,
                "parked": 0,
            },
        },
        "deliveries": [],
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


async def test_a_submission_has_neighbours_in_the_list_that_is_asked_for(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    form, other = [await add_form(services, account) for _ in range(2)]
    first = await add_submission(services, form)
    spam = await add_submission(services, form, status="spam")
    elsewhere = await add_submission(services, other)
    read = await add_submission(services, form, is_read=True)
    last = await add_submission(services, form)

    async def neighbours(id: str, **query: str) -> tuple[str | None, str | None]:
        answer = await client.get(f"/v1/submissions/{id}/neighbours", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()["newer"], answer.json()["older"]

    assert await neighbours(read) == (last, elsewhere)
    assert await neighbours(elsewhere, form_id=form.id) == (read, first)
    assert await neighbours(last, form_id=form.id, read="false") == (None, first)
    assert await neighbours(first, status="all") == (spam, None)
    assert await neighbours(read, status="spam") == (None, spam)
    assert await neighbours(last, since="2026-05-28T20:26:44Z") == (None, read)


async def test_only_a_submission_within_reach_has_neighbours(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    mine = await add_submission(services, await add_form(services, account))
    foreign = await add_form(services, await add_account(services))
    theirs = await add_submission(services, foreign)
    assert (await client.get(f"/v1/submissions/{theirs}/neighbours")).status_code == 404
    alone = await client.get(f"/v1/submissions/{mine}/neighbours")
    assert alone.json() == {"newer": None, "older": None}
    listed = await client.get(f"/v1/submissions/{mine}/neighbours?form_id={foreign.id}")
    assert listed.json() == {"newer": None, "older": None}


async def test_submissions_are_counted_by_how_they_are_filed(
    client: httpx.AsyncClient, services: Services, account: Account, clock: ManualClock
) -> None:
    form, other = [await add_form(services, account) for _ in range(2)]
    path = f"/v1/forms/{form.id}/submissions/count"
    await add_submission(services, other)
    for status in ("received", "spam", "received", "held"):
        await add_submission(services, form, status=status)
    assert (await client.get(path)).json() == {"received": 2, "held": 1, "spam": 1}
    since = {"since": iso(clock.now_ms() - 1_000)}
    assert (await client.get(path, params=since)).json() == {"received": 1, "held": 1, "spam": 0}
    foreign = await add_form(services, await add_account(services))
    answer = await client.get(f"/v1/forms/{foreign.id}/submissions/count")
    assert answer.status_code == 404


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
        "read=yes",
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


async def test_a_list_takes_the_newest_of_every_way_of_filing(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    made = [
        await add_submission(services, form, status=status, is_read=is_read)
        for _ in range(2)
        for status in ("received", "spam", "held")
        for is_read in (False, True)
    ]
    assert await ids(client, form.id, status="all") == made[::-1]
    assert await ids(client, form.id, status="all", read="false") == made[::2][::-1]
    assert await ids(client, form.id, status="all", read="true") == made[1::2][::-1]
    assert await ids(client, form.id, status="spam", read="false") == made[2::6][::-1]


async def test_all_forms_are_listed_together(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    forms = [await add_form(services, account) for _ in range(2)]
    made = [await add_submission(services, forms[n % 2]) for n in range(5)]
    foreign = await add_form(services, await add_account(services))
    await add_submission(services, foreign)

    async def listed(**query: str | int) -> list[str]:
        answer = await client.get("/v1/submissions", params=query)
        return [item["id"] for item in answer.json()["data"]]

    assert await listed() == made[::-1]
    assert await listed(form_id=forms[1].id) == made[1::2][::-1]
    assert await listed(form_id=foreign.id) == []
    first = (await client.get("/v1/submissions", params={"limit": 3})).json()
    rest = await listed(limit=3, cursor=first["next_cursor"])
    assert [item["id"] for item in first["data"]] + rest == made[::-1]


@pytest.mark.parametrize("reach", ["other form", "environment", "sandbox"])
async def test_what_is_beyond_a_credentials_reach_is_not_there(
    client: httpx.AsyncClient, services: Services, account: Account, reach: str
) -> None:
    form = await add_form(services, account)
    id = await add_submission(services, form)
    reaches = {
        "other form": Reach(form_ids=frozenset({new_id("frm", 1)})),
        "environment": Reach(environment="staging"),
        "sandbox": Reach(is_sandbox=True),
    }
    limited = replace(account.principal, reach=reaches[reach])
    page = await services.submissions.find(Forms(limited), Filter(), None, None, 10)
    assert page.rows == []
    assert (await services.submissions.change_all(limited, [id], {"read": True})).missing == [id]
    assert (await services.submissions.delete_all(limited, [id])).missing == [id]
    assert await ids(client, form.id) == [id]


async def test_marking_changes_what_is_named_and_is_put_down(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    id = await add_submission(services, form, status="spam")
    assert (await client.patch(f"/v1/submissions/{id}", json={"read": True})).json()["read"]
    marked = (await client.patch(f"/v1/submissions/{id}", json={"status": "received"})).json()
    assert (marked["status"], marked["read"], marked["trace"]["charged"]) == ("received", True, 1)
    assert await events(services) == [("submission.changed", id)] * 2
    answer = await client.patch(f"/v1/submissions/{id}", json={"status": "held"})
    assert answer.status_code == 422


async def events(services: Services) -> list[tuple[str, str | None]]:
    statement = select(audit_log.c.action, audit_log.c.target).where(
        audit_log.c.action.startswith("submission")
    )
    async with services.database.read() as connection:
        return [(row.action, row.target) for row in await connection.execute(statement)]


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("mark_received", ("received", False)),
        ("mark_spam", ("spam", False)),
        ("mark_read", ("held", True)),
        ("mark_unread", ("held", False)),
    ],
)
async def test_many_are_marked_at_once(
    client: httpx.AsyncClient,
    services: Services,
    account: Account,
    action: str,
    expected: tuple[str, bool],
) -> None:
    form = await add_form(services, account)
    made = [await add_submission(services, form, status="held") for _ in range(3)]
    answer = await client.post("/v1/submissions/bulk", json={"action": action, "ids": made[:2]})
    assert answer.json() == {"done": 2, "missing": []}
    for id in made[:2]:
        item = (await client.get(f"/v1/submissions/{id}")).json()
        assert (item["status"], item["read"]) == expected
    assert await ids(client, form.id, status="held", read="false") != []
    assert await events(services) == [("submissions.changed", None)]


async def test_many_are_deleted_at_once_and_what_is_foreign_is_missing(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    mine = [await add_submission(services, form) for _ in range(2)]
    stranger = await add_account(services)
    foreign = await add_submission(services, await add_form(services, stranger))
    unknown = new_id("sub", 1)
    body = {"action": "delete", "ids": [*mine, foreign, unknown, mine[0]]}
    answer = await client.post("/v1/submissions/bulk", json=body)
    assert answer.json() == {"done": 2, "missing": [foreign, unknown]}
    assert await ids(client, form.id) == []
    assert (await services.submissions.get(stranger.principal, foreign)).id == foreign
    assert await events(services) == [("submissions.deleted", None)]


async def test_an_alias_leads_to_its_submission_for_every_method(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    id, alias = await add_submission(services, form), new_id("sub", 1)
    async with services.database.write() as connection:
        row = {"id": alias, "submission_id": id, "received_at": 1}
        await connection.execute(insert(submission_aliases).values(row))
    assert (await client.get(f"/v1/submissions/{alias}")).json()["id"] == id
    marked = await client.patch(f"/v1/submissions/{alias}", json={"read": True})
    assert (marked.json()["id"], marked.json()["read"]) == (id, True)
    assert (await client.delete(f"/v1/submissions/{alias}")).status_code == 204
    assert await ids(client, form.id) == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "body",
    [
        {"action": "mark_read", "ids": []},
        {"action": "mark_read", "ids": ["sub_1"]},
        {"action": "mark_read", "ids": [new_id("sub", n) for n in range(1_001)]},
        {"action": "keep", "ids": [new_id("sub", 1)]},
        {"action": "delete"},
    ],
)
async def test_a_bad_bulk_request_is_422(client: httpx.AsyncClient, body: object) -> None:
    assert (await client.post("/v1/submissions/bulk", json=body)).status_code == 422


async def test_deleting_many_needs_the_right_to_delete(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    id = await add_submission(services, form)
    scopes = {"name": "a key", "kind": "live", "scopes": ["submissions:write"]}
    key = (await client.post("/v1/api-keys", json=scopes)).json()["key"]
    client.headers["Authorization"] = f"Bearer {key}"
    marked = await client.post("/v1/submissions/bulk", json={"action": "mark_read", "ids": [id]})
    deleted = await client.post("/v1/submissions/bulk", json={"action": "delete", "ids": [id]})
    assert (marked.status_code, deleted.status_code) == (200, 403)
    assert deleted.json()["scope"] == "submissions:delete"
