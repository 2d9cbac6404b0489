import csv
import io
import tracemalloc
from pathlib import Path
from typing import Any, get_args

import httpx
import orjson
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from backend.accounts.bootstrap import bootstrap
from backend.audit.actions import (
    MEANINGS,
    REFUSAL_REASONS,
    Action,
    RefusalReason,
    actions_table,
    reasons_table,
)
from backend.audit.details import encode_details
from backend.audit.record import SYSTEM, record, record_by
from backend.audit.routes import export_events_json
from backend.audit.schemas import EventQuery
from backend.audit.service import EXPORT_PAGE
from backend.audit.store import EventRow, insert_events
from backend.caller import Caller
from backend.management import Services
from backend.operations import Call
from contracts.ids import new_id
from contracts.keys import KeyKind, mint_key
from contracts.runtime.clock import SystemClock, iso
from contracts.runtime.settings import load_settings
from tests.backend.builders import Account, add_account, create_form, create_key
from tests.support.clock import ManualClock

pytestmark = pytest.mark.asyncio

LOG = "/v1/audit-log"
DAY_MS = 24 * 3600 * 1000


async def events(client: httpx.AsyncClient, **filters: str | int) -> list[dict[str, Any]]:
    answer = await client.get(LOG, params=filters)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


async def ids_of(client: httpx.AsyncClient, **filters: str | int) -> set[str]:
    return {event["id"] for event in await events(client, **filters)}


async def write(services: Services, account: Account, **members: Any) -> str:
    """Adds an event a second after the last one; returns its id."""
    services.clock.advance(1)  # type: ignore[attr-defined]
    now_ms = members.pop("now_ms", services.clock.now_ms())
    values = {
        "id": new_id("evt", now_ms),
        "account_id": account.principal.account_id,
        "occurred_at": now_ms,
        "actor_kind": "operator",
        "actor_id": None,
        "action": "form.changed",
        "target": "frm_1",
        "outcome": "succeeded",
        "address": "192.0.2.1",
        "user_agent": None,
        "details": None,
    }
    row = EventRow(**values | members)
    async with services.database.write() as connection:
        await insert_events(connection, [row])
    return row.id


async def test_an_event_says_who_did_what_on_what_from_where_and_when(
    client: httpx.AsyncClient, clock: ManualClock
) -> None:
    clock.advance(5)
    form = await create_form(client)
    [event] = await events(client, action="form.created")
    key_id = event["actor"]["id"]
    assert event | {"id": "", "details": {}} == {
        "id": "",
        "actor": {"kind": "key", "id": key_id, "name": "test"},
        "action": "form.created",
        "target": form["id"],
        "outcome": "succeeded",
        "address": "127.0.0.1",
        "user_agent": client.headers["user-agent"],
        "details": {},
        "count": 1,
        "occurred_at": "2026-05-28T20:26:45.000Z",
    }
    assert (await client.get(f"{LOG}/{event['id']}")).json() == event


async def test_events_are_listed_newest_first_and_paged(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    written = [await write(services, account, target="frm_x") for _ in range(7)]
    seen: list[str] = []
    parameters: dict[str, str] = {"limit": "3", "target": "frm_x"}
    while True:
        page = (await client.get(LOG, params=parameters)).json()
        seen += [event["id"] for event in page["data"]]
        if page["next_cursor"] is None:
            break
        parameters["cursor"] = page["next_cursor"]
    assert seen == written[::-1]


async def test_each_filter_finds_what_it_names(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    key_id = new_id("key", 1)
    one = await write(services, account, target="frm_a", action="form.created")
    at = services.clock.now_ms()
    two = await write(services, account, target="frm_b", action="form.changed", actor_kind="system")
    three = await write(
        services, account, target="frm_a", action="key.created", actor_kind="key", actor_id=key_id
    )
    four = await write(
        services,
        account,
        target="ff_sub_01234",
        action="credential.refused",
        outcome="refused",
        actor_kind="anonymous",
    )
    since = iso(at)
    ours = {one, two, three, four}
    cases: list[tuple[dict[str, str | int], set[str]]] = [
        ({}, ours),
        ({"actor": "operator"}, {one}),
        ({"actor": "system"}, {two}),
        ({"actor": "anonymous"}, {four}),
        ({"actor": key_id}, {three}),
        ({"actor": new_id("usr", 1)}, set()),
        ({"action": "form.created"}, {one}),
        ({"action": "form."}, {one, two}),
        ({"action": "member."}, set()),
        ({"target": "frm_a"}, {one, three}),
        ({"target": "ff_sub_01234"}, {four}),
        ({"target": "frm_a", "action": "form."}, {one}),
        ({"target": "frm_a", "actor": key_id}, {three}),
        ({"target": "frm_a", "actor": "operator", "action": "key."}, set()),
        ({"outcome": "refused"}, {four}),
        ({"outcome": "succeeded"}, {one, two, three}),
        ({"outcome": "refused", "action": "form."}, set()),
        ({"outcome": "succeeded", "actor": "system"}, {two}),
        ({"until": iso(at)}, set()),
        ({"until": iso(at + 1)}, {one}),
        ({"since": iso(at + 1_000)}, {two, three, four}),
        ({"since": iso(at + 1), "until": iso(at + 2_000), "action": "form."}, {two}),
        ({"since": "0001-01-01T00:00:00Z"}, ours),
        ({"since": "9999-01-01T00:00:00Z"}, set()),
    ]
    for filters, expected in cases:
        found = await ids_of(client, **({"since": since} | filters))
        assert found & ours == expected, filters


@pytest.mark.parametrize(
    "filters",
    [
        {"actor": "ada"},
        {"actor": "key_1"},
        {"action": "form.exploded"},
        {"action": "form"},
        {"target": "a\0b"},
        {"target": ""},
        {"outcome": "failed"},
        {"since": "yesterday"},
        {"limit": "0"},
        {"cursor": "zzz"},
        {"colour": "red"},
    ],
)
async def test_a_filter_that_means_nothing_is_refused(
    client: httpx.AsyncClient, filters: dict[str, str]
) -> None:
    answer = await client.get(LOG, params=filters)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == next(iter(filters))


async def test_another_accounts_events_do_not_exist(
    client: httpx.AsyncClient, services: Services
) -> None:
    other = await add_account(services)
    event_id = await write(services, other, target="frm_x")
    assert await events(client, target="frm_x") == []
    foreign = await client.get(f"{LOG}/{event_id}")
    absent = await client.get(f"{LOG}/{new_id('evt', 1)}")
    assert foreign.status_code == absent.status_code == 404
    assert foreign.json() == absent.json()


async def test_an_actor_of_another_account_has_no_name(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    other = await add_account(services)
    client.headers.update(other.headers)
    key = await create_key(client)
    client.headers.update(account.headers)
    await write(services, account, target="acc_x", actor_kind="key", actor_id=key["id"])
    [event] = await events(client, target="acc_x")
    assert event["actor"] == {"kind": "key", "id": key["id"], "name": None}


async def test_a_key_for_some_forms_sees_what_was_done_to_them_and_what_it_did(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    mine, hidden = await create_form(client), await create_form(client)
    restricted = await client.post(
        "/v1/api-keys",
        json={
            "name": "auditor",
            "kind": "management",
            "scopes": ["audit:read"],
            "allowed_forms": [mine["id"]],
        },
    )
    assert restricted.status_code == 201, restricted.text
    own = await write(
        services,
        account,
        target=None,
        action="audit.exported",
        actor_kind="key",
        actor_id=restricted.json()["id"],
    )
    [hidden_event] = await events(client, target=hidden["id"])
    [shown] = await events(client, target=mine["id"])
    client.headers["Authorization"] = f"Bearer {restricted.json()['key']}"
    assert await ids_of(client) == {own, shown["id"]}
    assert await ids_of(client, action="form.") == {shown["id"]}
    assert await ids_of(client, action="audit.") == {own}
    assert await ids_of(client, target=hidden["id"]) == set()
    assert await ids_of(client, actor=shown["actor"]["id"]) == {shown["id"]}
    assert (await client.get(f"{LOG}/{shown['id']}")).status_code == 200
    assert (await client.get(f"{LOG}/{hidden_event['id']}")).status_code == 404


async def test_a_key_for_test_forms_sees_what_it_did(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    created = await client.post(
        "/v1/api-keys", json={"name": "sandbox", "kind": "test", "scopes": ["audit:read"]}
    )
    assert created.status_code == 201, created.text
    own = await write(services, account, actor_kind="key", actor_id=created.json()["id"])
    client.headers["Authorization"] = f"Bearer {created.json()['key']}"
    assert await ids_of(client) == {own}


async def test_an_export_has_what_the_list_has_and_is_itself_an_event(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    for number in range(EXPORT_PAGE + 2):
        now_ms = services.clock.now_ms() + number
        await write(services, account, now_ms=now_ms, details=f'{{"n":{number}}}', target="frm_e")
    exported = await client.get(f"{LOG}.json", params={"target": "frm_e"})
    listed: list[dict[str, Any]] = []
    parameters = {"target": "frm_e", "limit": "100"}
    while True:
        page = (await client.get(LOG, params=parameters)).json()
        listed += page["data"]
        if page["next_cursor"] is None:
            break
        parameters["cursor"] = page["next_cursor"]
    assert len(listed) == EXPORT_PAGE + 2
    assert exported.json() == listed
    services.clock.advance(1)  # type: ignore[attr-defined]
    header, *rows = csv.reader(
        io.StringIO((await client.get(f"{LOG}.csv", params={"target": "frm_e"})).text)
    )
    assert [row[header.index("id")] for row in rows] == [event["id"] for event in listed]
    recorded = await events(client, action="audit.exported")
    assert [event["details"] for event in recorded] == [
        {"format": format, "filters": {"target": "frm_e"}} for format in ("csv", "json")
    ]


async def test_a_look_at_the_headers_of_an_export_is_none(client: httpx.AsyncClient) -> None:
    answer = await client.head(f"{LOG}.csv")
    assert answer.status_code == 200
    assert answer.content == b""
    assert await events(client, action="audit.exported") == []


async def test_an_export_of_nothing_is_empty(client: httpx.AsyncClient) -> None:
    nothing = {"target": "frm_none"}
    assert (await client.get(f"{LOG}.json", params=nothing)).json() == []
    assert (await client.get(f"{LOG}.csv", params=nothing)).text.count("\r\n") == 1


async def test_exports_are_attachments_and_run_nothing_in_a_spreadsheet(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    await write(services, account, target="frm_e", user_agent="=cmd()")
    for format, media_type in (("csv", "text/csv; charset=utf-8"), ("json", "application/json")):
        answer = await client.get(f"{LOG}.{format}", params={"target": "frm_e"})
        assert answer.headers["content-type"] == media_type
        assert f'filename="audit-log.{format}"' in answer.headers["content-disposition"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert ("'=cmd()" if format == "csv" else '"=cmd()"') in answer.text


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_an_export_holds_one_page_in_memory(services: Services, account: Account) -> None:
    details = orjson.dumps({"text": "x" * 1_000}).decode()
    for start in range(0, 10_000, 1_000):
        rows = [
            EventRow(
                new_id("evt", number), account.principal.account_id, number, "operator", None,
                "form.changed", "frm_1", "succeeded", None, None, details,
            )
            for number in range(start, start + 1_000)
        ]  # fmt: skip
        async with services.database.write() as connection:
            await insert_events(connection, rows)
    del rows
    sizes, peaks = [], []
    # The first is of a few rows: what statements and models take once is not the export's.
    for until in ("1970-01-01T00:00:00.500Z", "2030-01-01T00:00:00Z"):
        query = EventQuery.model_validate({"until": until})
        tracemalloc.start()
        answer = await export_events_json(Call(services, account.principal, {}, None, query))
        sizes.append(sum([len(chunk) async for chunk in answer.body_iterator]))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert sizes[1] > 10_000_000
    assert peaks[1] < peaks[0] * 2


async def test_an_event_is_recorded_with_the_change_or_not_at_all(
    services: Services, account: Account, client: httpx.AsyncClient
) -> None:
    async def change_and_fail() -> None:
        async with services.database.write() as connection:
            await record(connection, account.principal, "form.deleted", "frm_1", 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await change_and_fail()
    assert await events(client, action="form.deleted") == []


async def test_what_the_server_does_by_itself_says_so(
    services: Services, account: Account, client: httpx.AsyncClient
) -> None:
    now_ms = services.clock.now_ms()
    async with services.database.write() as connection:
        await record_by(
            connection,
            SYSTEM,
            account.principal.account_id,
            "form.expired_submissions_removed",
            "frm_1",
            now_ms,
            caller=Caller(),
            count=3,
        )
    [event] = await events(client, actor="system")
    assert event["actor"] == {"kind": "system", "id": None, "name": None}
    assert event["details"] == {"count": 3}


async def test_the_first_start_leaves_the_first_events(
    anonymous: httpx.AsyncClient, services: Services
) -> None:
    key = (await bootstrap(services)).management_key
    anonymous.headers["Authorization"] = f"Bearer {key}"
    found = {(event["action"], event["actor"]["kind"]) for event in await events(anonymous)}
    assert found == {("account.created", "system"), ("member.link_made", "system")}


async def test_no_event_is_ever_changed(services: Services, account: Account) -> None:
    await write(services, account)
    with pytest.raises(DBAPIError, match="append-only"):
        async with services.database.write() as connection:
            await connection.execute(text("UPDATE audit_log SET outcome = 'refused'"))


async def test_no_young_event_is_removed_whatever_the_clock_of_the_backend_says(
    services: Services, account: Account
) -> None:
    await write(services, account, now_ms=SystemClock().now_ms() - 27 * DAY_MS)
    with pytest.raises(DBAPIError, match="append-only"):
        async with services.database.write() as connection:
            await connection.execute(text("DELETE FROM audit_log WHERE target = 'frm_1'"))


async def test_events_past_their_retention_are_removed(
    client: httpx.AsyncClient,
    services: Services,
    account: Account,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("backend.audit.service._REMOVED_AT_ONCE", 2)
    days = load_settings(environ={}).audit_retention_days
    await services.audit.remove_expired()
    for _ in range(5):
        await write(services, account, target="frm_old")
    clock.advance(days * 24 * 3600)
    young = await write(services, account, target="frm_young")
    assert await services.audit.remove_expired() >= 5
    assert await events(client, target="frm_old") == []
    assert await ids_of(client, target="frm_young") == {young}
    assert await services.audit.remove_expired() == 0


async def test_every_action_has_a_noun_a_verb_and_a_sentence() -> None:
    for action, meaning in MEANINGS.items():
        noun, _, verb = action.partition(".")
        assert noun.isidentifier()
        assert verb.isidentifier()
        assert meaning.endswith(".")


async def test_keys_in_details_are_cut_and_values_named_like_secrets_left_out() -> None:
    key = mint_key(KeyKind.MANAGEMENT)
    encoded = encode_details(
        {
            "name": f"my {key.text}",
            "nested": [{"text": key.text}],
            "turnstile_secret": "0x4AAA",
            "invite_token": "abc",
            "password": None,
            "has_secret": True,
        }
    )
    assert orjson.loads(encoded or "") == {
        "name": f"my {key.display}…",
        "nested": [{"text": f"{key.display}…"}],
        "turnstile_secret": "…",
        "invite_token": "…",
        "password": None,
        "has_secret": True,
    }
    assert encode_details({}) is None


async def test_details_are_bounded() -> None:
    many = orjson.loads(encode_details({"ids": [str(n) for n in range(1_000)]}) or "")["ids"]
    assert (len(many), many[-1]) == (101, "… 900 more")
    long = orjson.loads(encode_details({"name": "x" * 10_000}) or "")["name"]
    assert len(long) == 257
    huge = encode_details({f"name{n}": "x" * 250 for n in range(1_000)}) or ""
    assert orjson.loads(huge) == {"omitted_bytes": pytest.approx(262_000, rel=0.05)}


async def test_the_documented_actions_and_reasons_are_those_there_are() -> None:
    documented = Path("docs/audit.md").read_text()
    assert actions_table() in documented
    assert reasons_table() in documented
    assert set(get_args(Action)) == set(MEANINGS)
    assert set(get_args(RefusalReason)) == set(REFUSAL_REASONS)
