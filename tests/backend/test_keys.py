import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from backend.changes import read_state
from backend.management import Services
from backend.tables import api_keys, audit_log
from contracts.keys import parse_key
from tests.backend.builders import Account, add_account, add_form, create_key
from tests.backend.conftest import OPERATOR_TOKEN
from tests.support.clock import ManualClock

DAY = 24 * 3600

pytestmark = pytest.mark.asyncio


def bearer(key: dict[str, Any] | str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key if isinstance(key, str) else key['key']}"}


def problem(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, str(answer.json()["type"].rpartition("/")[2])


async def mint(client: httpx.AsyncClient, **members: Any) -> dict[str, Any]:
    answer = await client.post("/v1/api-keys", json={"name": "a key"} | members)
    assert answer.status_code == 201, answer.text
    document: dict[str, Any] = answer.json()
    return document


async def refused(client: httpx.AsyncClient, **members: Any) -> tuple[int, str, str]:
    """The status, the problem, and the scope or member that it names."""
    answer = await client.post("/v1/api-keys", json={"name": "a key"} | members)
    document = answer.json()
    named = [error["field"] for error in document.get("errors", ())]
    which = document.get("scope") or document.get("member") or ",".join(named)
    return *problem(answer), which


async def works(client: httpx.AsyncClient, key: dict[str, Any]) -> int:
    return (await client.get("/v1/forms", headers=bearer(key))).status_code


async def rotate(client: httpx.AsyncClient, key: dict[str, Any], **members: int) -> httpx.Response:
    return await client.post(f"/v1/api-keys/{key['id']}/rotate", json=members)


async def read(client: httpx.AsyncClient, key: dict[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = (await client.get(f"/v1/api-keys/{key['id']}")).json()
    return document


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
        "scopes": None,
        "environment": None,
        "allowed_ips": None,
        "allowed_forms": None,
        "rate_limit_per_minute": 1_200,
        "burst": 50,
        "created_by": creator["id"],
        "created_at": "2026-05-28T20:26:40.000Z",
        "expires_at": None,
        "last_used_at": None,
        "revoked_at": None,
        "replaced_by": None,
        "key": created["key"],
    }


async def test_every_term_is_kept_as_it_is_named(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    terms = {
        "scopes": ["forms:read", "submissions:read"],
        "environment": "staging",
        "allowed_forms": [form.id],
        "rate_limit_per_minute": 60,
        "burst": 5,
        "expires_at": "2027-01-01T00:00:00.000Z",
    }
    networks = ["10.1.2.3/8", "192.0.2.7", "2001:DB8::1/32", "::ffff:198.51.100.0/120"]
    created = await mint(client, kind="management", allowed_ips=networks, **terms)
    shown = await read(client, created)
    assert {name: shown[name] for name in terms} == terms
    assert shown["allowed_ips"] == [
        "10.0.0.0/8",
        "192.0.2.7/32",
        "2001:db8::/32",
        "198.51.100.0/24",
    ]


async def test_the_secret_is_stored_as_a_bcrypt_hash_only(
    client: httpx.AsyncClient, services: Services
) -> None:
    key = parse_key((await create_key(client))["key"])
    assert key is not None
    async with services.database.read() as connection:
        rows = (await connection.execute(select(api_keys))).all()
    assert all(row.secret_hash.startswith("$2b$04$") for row in rows)
    assert key.secret not in repr(rows)


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({}, "kind"),
        ({"kind": "other"}, "kind"),
        ({"kind": "live"}, "scopes"),
        ({"kind": "test"}, "scopes"),
        ({"kind": "live", "scopes": []}, "scopes"),
        ({"kind": "management", "scopes": []}, "scopes"),
        ({"kind": "management", "scopes": ["forms:fly"]}, "scopes.0"),
        ({"kind": "submission", "scopes": ["submissions:write"]}, "scopes"),
        ({"kind": "live", "scopes": ["forms:read"], "environment": "staging"}, "environment"),
        ({"kind": "submission", "environment": "nowhere"}, "environment"),
        ({"kind": "submission", "allowed_ips": ["10.0.0.0/33"]}, "allowed_ips.0"),
        ({"kind": "submission", "allowed_ips": ["example.com"]}, "allowed_ips.0"),
        ({"kind": "submission", "allowed_ips": []}, "allowed_ips"),
        ({"kind": "submission", "allowed_forms": ["frm_1"]}, "allowed_forms.0"),
        ({"kind": "submission", "rate_limit_per_minute": 1_201}, "rate_limit_per_minute"),
        ({"kind": "submission", "rate_limit_per_minute": 0}, "rate_limit_per_minute"),
        ({"kind": "submission", "burst": 0}, "burst"),
        ({"kind": "submission", "expires_at": "2026-05-28T20:26:40Z"}, "expires_at"),
        ({"kind": "submission", "expires_at": "2028-05-30T00:00:00Z"}, "expires_at"),
        ({"kind": "submission", "expires_at": "soon"}, "expires_at"),
        (
            {"kind": "test", "scopes": ["forms:read"], "expires_at": "2026-06-05T00:00:00Z"},
            "expires_at",
        ),
        ({"kind": "submission", "key": "x"}, "key"),
        ({"kind": "submission", "name": ""}, "name"),
    ],
)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_key_that_makes_no_sense_is_422_and_says_where(
    client: httpx.AsyncClient, members: dict[str, Any], field: str
) -> None:
    assert await refused(client, **members) == (422, "validation-error", field)


async def test_another_accounts_form_cannot_be_allowed(
    client: httpx.AsyncClient, services: Services
) -> None:
    form = await add_form(services, await add_account(services))
    found = await refused(client, kind="submission", allowed_forms=[form.id])
    assert found == (422, "validation-error", "allowed_forms.0")


async def test_a_scoped_key_has_its_scopes_and_no_more(client: httpx.AsyncClient) -> None:
    key = await mint(client, kind="live", scopes=["forms:read"])
    assert (key["environment"], await works(client, key)) == ("production", 200)
    answer = await client.post("/v1/forms", json={"name": "x"}, headers=bearer(key))
    assert (*problem(answer), answer.json()["scope"]) == (403, "insufficient-scope", "forms:write")


async def test_a_management_key_may_have_less_than_everything(client: httpx.AsyncClient) -> None:
    key = await mint(client, kind="management", scopes=["usage:read"])
    assert await works(client, key) == 403


async def test_a_test_key_ends_by_itself_after_seven_days(
    client: httpx.AsyncClient, clock: ManualClock
) -> None:
    key = await mint(client, kind="test", scopes=["forms:read"])
    assert key["expires_at"] == "2026-06-04T20:26:40.000Z"
    clock.advance(7 * DAY - 1)
    assert await works(client, key) == 200
    clock.advance(1)
    assert await works(client, key) == 403
    assert (await read(client, key))["status"] == "expired"


async def test_a_key_ends_when_it_expires(client: httpx.AsyncClient, clock: ManualClock) -> None:
    key = await mint(client, kind="management", expires_at="2026-05-28T20:27:00Z")
    assert await works(client, key) == 200
    clock.advance(20)
    assert await works(client, key) == 403


async def test_a_key_sees_only_the_forms_within_its_reach(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    live = await add_form(services, account, name="Live")
    test = await add_form(services, account, name="Test", mode="test")
    staged = await add_form(services, account, name="Staged", environment="staging")
    read_forms = ["forms:read"]
    reaches = {
        (test.id,): await mint(client, kind="test", scopes=read_forms),
        (live.id, test.id): await mint(client, kind="live", scopes=read_forms),
        (staged.id,): await mint(client, kind="management", environment="staging"),
        (live.id,): await mint(client, kind="management", allowed_forms=[live.id]),
    }
    for within, key in reaches.items():
        listed = (await client.get("/v1/forms", headers=bearer(key))).json()["data"]
        assert {form["id"] for form in listed} == set(within)
        for form in (live, test, staged):
            status = (await client.get(f"/v1/forms/{form.id}", headers=bearer(key))).status_code
            assert status == (200 if form.id in within else 404)


async def test_a_revoked_key_is_refused_at_the_next_request(client: httpx.AsyncClient) -> None:
    key = await create_key(client, "management")
    assert await works(client, key) == 200
    assert (await client.delete(f"/v1/api-keys/{key['id']}")).status_code == 204
    refused = await client.get("/v1/forms", headers=bearer(key))
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


async def test_a_patch_changes_what_it_names_and_acts_at_the_next_request(
    client: httpx.AsyncClient,
) -> None:
    key = await mint(client, kind="management", burst=5)
    changes = {"name": "renamed", "scopes": ["usage:read"], "rate_limit_per_minute": 30}
    answer = await client.patch(f"/v1/api-keys/{key['id']}", json=changes)
    expected = {name: value for name, value in key.items() if name != "key"} | changes
    assert (answer.status_code, answer.json()) == (200, expected)
    assert await works(client, key) == 403
    answer = await client.patch(f"/v1/api-keys/{key['id']}", json={"scopes": None, "burst": None})
    assert (answer.json()["scopes"], answer.json()["burst"]) == (None, 50)
    assert await works(client, key) == 200


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("member", ["kind", "environment", "status", "key", "replaced_by"])
async def test_what_a_patch_cannot_change_is_422(client: httpx.AsyncClient, member: str) -> None:
    key = await create_key(client)
    answer = await client.patch(f"/v1/api-keys/{key['id']}", json={member: "x"})
    assert answer.status_code == 422


async def test_a_key_that_has_ended_or_been_replaced_cannot_be_changed(
    client: httpx.AsyncClient, clock: ManualClock
) -> None:
    revoked, replaced = await create_key(client), await create_key(client)
    expired = await mint(client, kind="submission", expires_at="2026-05-28T20:27:00Z")
    await client.delete(f"/v1/api-keys/{revoked['id']}")
    assert (await rotate(client, replaced)).status_code == 201
    clock.advance(60)
    for key in (revoked, replaced, expired):
        change = await client.patch(f"/v1/api-keys/{key['id']}", json={"name": "x"})
        assert problem(change) == (409, "conflict")
        assert problem(await rotate(client, key)) == (409, "conflict")


async def test_a_rotated_key_goes_on_for_its_grace_and_then_dies_by_itself(
    client: httpx.AsyncClient, clock: ManualClock
) -> None:
    terms = {"scopes": ["forms:read"], "burst": 7, "allowed_ips": ["127.0.0.0/8"]}
    old = await mint(client, kind="live", **terms)
    answer = await client.post(f"/v1/api-keys/{old['id']}/rotate")
    assert answer.status_code == 201
    new = answer.json()
    assert {name: new[name] for name in ("name", "kind", *terms)} == {
        name: old[name] for name in ("name", "kind", *terms)
    }
    shown = await read(client, old)
    assert (shown["status"], shown["replaced_by"]) == ("grace", new["id"])
    assert shown["expires_at"] == "2026-05-29T20:26:40.000Z"
    clock.advance(DAY - 1)
    assert (await works(client, old), await works(client, new)) == (200, 200)
    clock.advance(1)
    assert (await works(client, old), await works(client, new)) == (403, 200)
    assert (await read(client, old))["status"] == "expired"


async def test_without_grace_the_old_key_ends_at_once(client: httpx.AsyncClient) -> None:
    old = await create_key(client, "management")
    assert await works(client, old) == 200
    new = (await rotate(client, old, grace_hours=0)).json()
    assert (await works(client, old), await works(client, new)) == (403, 200)


async def test_grace_never_prolongs_a_key_and_a_rotation_never_its_end(
    client: httpx.AsyncClient,
) -> None:
    key = await mint(client, kind="submission", expires_at="2026-05-28T21:00:00Z")
    new = (await rotate(client, key, grace_hours=168)).json()
    ends = "2026-05-28T21:00:00.000Z"
    assert (new["expires_at"], (await read(client, key))["expires_at"]) == (ends, ends)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("hours", [-1, 169, 1.5, "1", None])
async def test_grace_is_whole_hours_of_a_week(client: httpx.AsyncClient, hours: object) -> None:
    key = await create_key(client)
    answer = await client.post(f"/v1/api-keys/{key['id']}/rotate", json={"grace_hours": hours})
    assert answer.status_code == 422


async def test_an_account_gets_ten_keys_an_hour_created_or_rotated(
    client: httpx.AsyncClient, clock: ManualClock
) -> None:
    made = []
    for _ in range(9):
        made.append(await create_key(client))
        clock.advance(60)
    assert (await rotate(client, made[0])).status_code == 201
    for answer in (
        await client.post("/v1/api-keys", json={"name": "x", "kind": "submission"}),
        await rotate(client, made[1]),
    ):
        assert problem(answer) == (429, "rate-limited")
        assert answer.headers["retry-after"] == str(answer.json()["retry_after"]) == "3060"
    clock.advance(3_060)
    await create_key(client)
    assert (await refused(client, kind="submission"))[0] == 429


async def test_of_keys_minted_at_once_no_more_than_ten_are(client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(
        *(client.post("/v1/api-keys", json={"name": "x", "kind": "submission"}) for _ in range(14))
    )
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(201), statuses.count(429)) == (10, 4)


async def test_a_plan_counts_active_keys_only(
    anonymous: httpx.AsyncClient, services: Services
) -> None:
    account = await add_account(services, "starter")
    anonymous.headers["Authorization"] = f"Bearer {account.key}"
    first = await create_key(anonymous)
    await create_key(anonymous)
    answer = await anonymous.post("/v1/api-keys", json={"name": "x", "kind": "submission"})
    assert (*problem(answer), answer.json()["limit"]) == (409, "conflict", 3)
    # Two are in force meanwhile, but one of them is replaced.
    second = (await rotate(anonymous, first)).json()
    assert (await refused(anonymous, kind="submission"))[0] == 409
    await anonymous.delete(f"/v1/api-keys/{second['id']}")
    await create_key(anonymous)


async def test_the_operator_can_always_make_an_account_manageable_again(
    anonymous: httpx.AsyncClient, services: Services
) -> None:
    account = await add_account(services, "free")
    anonymous.headers["Authorization"] = f"Bearer {OPERATOR_TOKEN}"
    assert (await refused(anonymous, kind="management"))[0] == 409
    [only] = (await anonymous.get("/v1/api-keys")).json()["data"]
    await anonymous.delete(f"/v1/api-keys/{only['id']}")
    assert (await refused(anonymous, kind="submission"))[0] == 409
    key = await mint(anonymous, kind="management")
    assert await works(anonymous, key) == 200
    assert account.key != key["key"]


async def test_a_key_mints_no_key_that_may_more(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    form, other = await add_form(services, account), await add_form(services, account)
    scopes = ["keys:manage", "forms:read"]
    minter = await mint(
        client,
        kind="management",
        scopes=scopes,
        environment="production",
        allowed_forms=[form.id],
        allowed_ips=["127.0.0.0/8"],
        rate_limit_per_minute=100,
        burst=40,
        expires_at="2026-08-01T00:00:00Z",
    )
    client.headers["Authorization"] = f"Bearer {minter['key']}"
    fine = {"kind": "management", "scopes": ["forms:read"]}
    for members, named in (
        ({"kind": "management"}, "audit:read"),
        ({"scopes": ["forms:read", "usage:read"]}, "usage:read"),
        ({"kind": "submission", "scopes": None}, "submissions:write"),
        ({"environment": None}, "environment"),
        ({"environment": "staging"}, "environment"),
        ({"allowed_forms": None}, "allowed_forms"),
        ({"allowed_ips": None}, "allowed_ips"),
        ({"allowed_ips": ["127.0.0.1", "10.0.0.1"]}, "allowed_ips"),
        ({"expires_at": None}, "expires_at"),
        ({"expires_at": "2026-08-01T00:00:00.001Z"}, "expires_at"),
        ({"rate_limit_per_minute": None}, "rate_limit_per_minute"),
        ({"rate_limit_per_minute": 101}, "rate_limit_per_minute"),
        ({"burst": 41}, "burst"),
    ):
        wanted = ({"kind": "management"} if members == {"kind": "management"} else fine) | members
        assert await refused(client, **wanted) == (403, "insufficient-scope", named)
    beyond = await refused(client, **fine, allowed_forms=[other.id])
    assert beyond[0] in {403, 422}
    child = await mint(client, **fine)
    for name in ("environment", "allowed_forms", "allowed_ips", "expires_at", "burst"):
        assert child[name] == minter[name]


async def test_a_key_changes_rotates_and_sees_no_key_that_reaches_further(
    client: httpx.AsyncClient,
) -> None:
    strong = await mint(client, kind="management")
    staged = await mint(client, kind="management", environment="staging")
    weak = await mint(client, kind="management", scopes=["keys:manage"])
    tester = await mint(client, kind="test", scopes=["keys:manage", "forms:read"])
    client.headers["Authorization"] = f"Bearer {weak['key']}"
    assert problem(await rotate(client, strong)) == (403, "insufficient-scope")
    change = await client.patch(f"/v1/api-keys/{strong['id']}", json={"name": "mine"})
    assert problem(change) == (403, "insufficient-scope")
    widening = await client.patch(f"/v1/api-keys/{weak['id']}", json={"scopes": ["forms:read"]})
    assert problem(widening) == (403, "insufficient-scope")
    for narrow in (staged, tester):
        client.headers["Authorization"] = f"Bearer {narrow['key']}"
        assert (await client.get(f"/v1/api-keys/{strong['id']}")).status_code == 404
        assert (await client.delete(f"/v1/api-keys/{strong['id']}")).status_code == 404
        assert problem(await rotate(client, strong)) == (404, "not-found")
        listed = (await client.get("/v1/api-keys")).json()["data"]
        assert [key["id"] for key in listed] == [narrow["id"]]
    assert (await refused(client, kind="live", scopes=["forms:read"]))[2] == "kind"
    await mint(client, kind="test", scopes=["forms:read"])


async def test_a_restricted_keys_list_is_paged_like_any_other(client: httpx.AsyncClient) -> None:
    narrow = await mint(client, kind="management", environment="staging")
    for number in range(3):
        await create_key(client)
        await mint(client, kind="management", environment="staging", name=f"{number}")
    client.headers["Authorization"] = f"Bearer {narrow['key']}"
    names, cursor = [], None
    while True:
        query = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/v1/api-keys", params=query)).json()
        names += [key["name"] for key in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert sorted(names) == ["0", "1", "2", "a key"]


async def test_the_use_of_a_key_is_written_once_a_minute_at_most(
    client: httpx.AsyncClient, services: Services, clock: ManualClock
) -> None:
    key = await mint(client, kind="management")
    await works(client, key)
    assert (await read(client, key))["last_used_at"] is None
    clock.advance(30)
    await works(client, key)
    await services.key_use.flush()
    assert (await read(client, key))["last_used_at"] == "2026-05-28T20:27:10.000Z"
    clock.advance(60)
    await services.key_use.flush()
    assert (await read(client, key))["last_used_at"] == "2026-05-28T20:27:10.000Z"


@pytest.mark.parametrize("form", ["json", "plain"])
async def test_a_leaked_key_is_revoked_and_nobody_is_told(
    client: httpx.AsyncClient, services: Services, form: str
) -> None:
    key = await create_key(client, "management")
    unknown = key["key"][:30] + key["key"][30:][::-1]
    del client.headers["Authorization"]

    async def report(text: str) -> httpx.Response:
        if form == "json":
            return await client.post("/v1/keys/leaked", json={"key": text})
        headers = {"content-type": "text/plain; charset=utf-8"}
        return await client.post("/v1/keys/leaked", content=text + "\n", headers=headers)

    answers = [await report(text) for text in ("nonsense", unknown, key["key"], key["key"])]
    assert {(answer.status_code, answer.text) for answer in answers} == {
        (202, '{"status":"accepted"}')
    }
    assert await works(client, key) == 403
    async with services.database.read() as connection:
        query = select(audit_log).where(audit_log.c.action == "key.leaked")
        [event] = (await connection.execute(query)).all()
    assert (event.target, event.actor_id, event.address) == (key["id"], key["id"], "127.0.0.1")


async def test_reports_of_leaked_keys_are_limited_per_address(client: httpx.AsyncClient) -> None:
    answers = [await client.post("/v1/keys/leaked", json={"key": "x"}) for _ in range(21)]
    assert [answer.status_code for answer in answers] == [202] * 20 + [429]
    assert int(answers[-1].headers["retry-after"]) > 0


async def test_what_is_done_to_keys_is_in_the_audit_log_without_their_secrets(
    client: httpx.AsyncClient, services: Services
) -> None:
    key = await create_key(client)
    await client.patch(f"/v1/api-keys/{key['id']}", json={"name": "renamed"})
    new = (await rotate(client, key)).json()
    await client.delete(f"/v1/api-keys/{new['id']}")
    async with services.database.read() as connection:
        rows = (await connection.execute(select(audit_log).order_by(audit_log.c.id))).all()
    events = {(row.action, row.target) for row in rows}
    assert events >= {
        ("key.created", key["id"]),
        ("key.changed", key["id"]),
        ("key.rotated", key["id"]),
        ("key.revoked", new["id"]),
    }
    for text in (key["key"], new["key"]):
        assert text[20:] not in repr(rows)
