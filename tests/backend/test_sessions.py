"""Sessions: how long they last, who ends them, and what they may."""

from typing import Any

import httpx
import pytest

from backend.api_limits import BURST, ApiLimits
from backend.caller import Caller
from backend.management import Services
from backend.members.service import Joined
from backend.plans.catalogue import Plan, Plans
from backend.tokens import mint_token
from contracts.ids import new_id
from contracts.runtime.ratelimit import LocalRateLimiter
from tests.backend.builders import Account, add_account
from tests.backend.session_builders import bearer, join, link_token, sign_in
from tests.support.clock import ManualClock

pytestmark = pytest.mark.asyncio

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR


async def status(client: httpx.AsyncClient, joined: Joined, path: str = "/v1/auth/session") -> int:
    return (await client.get(path, headers=bearer(joined))).status_code


async def listed(client: httpx.AsyncClient, joined: Joined, query: str = "") -> dict[str, Any]:
    answer = await client.get(f"/v1/auth/sessions{query}", headers=bearer(joined))
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


async def another_of(client: httpx.AsyncClient, services: Services, joined: Joined) -> str:
    """A further session of the same member: its token."""
    answer = await sign_in(client, await link_token(services, joined.member.email))
    return str(answer.json()["token"])


async def test_a_session_that_is_not_used_for_an_hour_ends(
    anonymous: httpx.AsyncClient, services: Services, account: Account, clock: ManualClock
) -> None:
    joined = await join(services, account)
    for _ in range(3):
        clock.advance(HOUR - 1)
        assert await status(anonymous, joined) == 200
    clock.advance(HOUR)
    assert await status(anonymous, joined) == 401


async def test_what_another_backend_saw_keeps_a_session_once_it_is_written(
    anonymous: httpx.AsyncClient, services: Services, account: Account, clock: ManualClock
) -> None:
    joined = await join(services, account)
    clock.advance(HOUR - 1)
    assert await status(anonymous, joined) == 200
    await services.session_use.flush()
    assert services.session_use.noted(joined.session.session.id) is None
    clock.advance(HOUR - 1)
    assert await status(anonymous, joined) == 200


async def test_a_session_ends_after_seven_days_however_it_is_used(
    anonymous: httpx.AsyncClient, services: Services, account: Account, clock: ManualClock
) -> None:
    joined = await join(services, account)
    statuses = []
    for _ in range(7 * 48):
        clock.advance(HOUR / 2)
        statuses.append(await status(anonymous, joined))
    assert statuses == [200] * (7 * 48 - 1) + [401]


async def test_an_ended_session_is_401_and_the_audit_log_knows_why(
    client: httpx.AsyncClient, services: Services, account: Account, clock: ManualClock
) -> None:
    ended, expired = [await join(services, account) for _ in range(2)]
    await client.delete("/v1/auth/session", headers=bearer(ended))
    clock.advance(HOUR)
    tokens = [ended.session.token, expired.session.token, mint_token("ff_ses_"), "ff_ses_x"]
    for token in tokens:
        headers = {"Authorization": f"Bearer {token}"}
        answer = await client.get("/v1/forms", headers=headers)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert answer.json()["type"].endswith("/unauthorized")
    await services.refusals.flush()
    log = (await client.get("/v1/audit-log?action=credential.refused")).json()["data"]
    reasons = sorted(event["details"]["reason"] for event in log)
    assert reasons == ["expired", "malformed", "revoked", "unknown"]
    assert not any(token in str(log) for token in tokens[:3])


async def test_signing_out_ends_this_session_only(
    anonymous: httpx.AsyncClient, services: Services, account: Account
) -> None:
    joined = await join(services, account)
    other = {"Authorization": f"Bearer {await another_of(anonymous, services, joined)}"}
    assert (await anonymous.delete("/v1/auth/session", headers=other)).status_code == 204
    assert (await anonymous.get("/v1/auth/session", headers=other)).status_code == 401
    assert await status(anonymous, joined) == 200


async def test_ones_own_sessions_are_listed_and_ended_one_by_one(
    client: httpx.AsyncClient, services: Services, account: Account, clock: ManualClock
) -> None:
    joined = await join(services, account, caller=Caller("192.0.2.7", "Firefox"))
    clock.advance(MINUTE)
    await another_of(client, services, joined)
    await join(services, account)
    newest, first = (await listed(client, joined))["data"]
    assert (first["id"], first["current"]) == (joined.session.session.id, True)
    assert (first["address"], first["user_agent"]) == ("192.0.2.7", "Firefox")
    assert (newest["address"], newest["current"]) == ("127.0.0.1", False)
    assert first["last_seen_at"] > first["created_at"]
    page = await listed(client, joined, "?limit=1")
    assert page["data"] == [newest]
    rest = await listed(client, joined, f"?limit=1&cursor={page['next_cursor']}")
    assert (rest["data"][0]["id"], rest["next_cursor"]) == (first["id"], None)
    path = f"/v1/auth/sessions/{newest['id']}"
    assert (await client.delete(path, headers=bearer(joined))).status_code == 204
    assert (await client.delete(path, headers=bearer(joined))).status_code == 404
    assert [item["id"] for item in (await listed(client, joined))["data"]] == [first["id"]]
    events = (await client.get("/v1/audit-log?action=session.ended")).json()["data"]
    assert [(event["target"], event["actor"]["id"]) for event in events] == [
        (newest["id"], joined.member.id)
    ]


async def test_sessions_that_are_over_are_not_listed(
    anonymous: httpx.AsyncClient, services: Services, account: Account, clock: ManualClock
) -> None:
    joined = await join(services, account)
    await another_of(anonymous, services, joined)
    for _ in range(2):
        clock.advance(HOUR / 2)
        assert await status(anonymous, joined) == 200
    assert [item["current"] for item in (await listed(anonymous, joined))["data"]] == [True]


async def test_signing_out_everywhere_ends_all_of_ones_own(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    joined, other = [await join(services, account) for _ in range(2)]
    second = {"Authorization": f"Bearer {await another_of(client, services, joined)}"}
    assert (await client.delete("/v1/auth/sessions", headers=second)).status_code == 204
    assert await status(client, joined) == 401
    assert (await client.get("/v1/auth/session", headers=second)).status_code == 401
    assert await status(client, other) == 200
    [event] = (await client.get("/v1/audit-log?action=sessions.ended")).json()["data"]
    assert (event["actor"]["id"], event["details"]) == (joined.member.id, {"count": 2})


async def test_the_session_of_somebody_else_is_missing(
    anonymous: httpx.AsyncClient, services: Services, account: Account
) -> None:
    joined = await join(services, account)
    colleague, stranger = [
        await join(services, owner) for owner in (account, await add_account(services))
    ]
    theirs = [colleague.session.session.id, stranger.session.session.id, new_id("ses", 1), "x"]
    answers = [
        await anonymous.delete(f"/v1/auth/sessions/{id}", headers=bearer(joined)) for id in theirs
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.content for answer in answers}) == 1
    for other in (colleague, stranger):
        assert await status(anonymous, other) == 200


async def test_another_role_acts_at_the_next_request(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    joined = await join(services, account, "editor")
    path, body = f"/v1/members/{joined.member.id}", {"name": "A form"}
    made = await client.post("/v1/forms", json=body, headers=bearer(joined))
    assert made.status_code == 201
    await client.patch(path, json={"role": "viewer"})
    refused = await client.post("/v1/forms", json=body, headers=bearer(joined))
    assert (refused.status_code, refused.json()["scope"]) == (403, "forms:write")
    await client.patch(path, json={"permissions": ["forms:write"]})
    again = await client.post("/v1/forms", json=body, headers=bearer(joined))
    assert again.status_code == 201
    assert await status(client, joined, "/v1/forms") == 403
    await client.patch(path, json={"permissions": []})
    assert await status(client, joined, "/v1/forms") == 403
    assert await status(client, joined) == 200


async def test_whoever_is_removed_is_out_at_the_next_request(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    joined = await join(services, account)
    await join(services, account)
    assert (await client.delete(f"/v1/members/{joined.member.id}")).status_code == 204
    assert await status(client, joined) == 401
    await services.session_use.flush()


async def test_a_session_sees_its_account_only(
    anonymous: httpx.AsyncClient, services: Services, account: Account
) -> None:
    joined, stranger = [
        await join(services, owner) for owner in (account, await add_account(services))
    ]
    made = await anonymous.post("/v1/forms", json={"name": "Ours"}, headers=bearer(joined))
    path = f"/v1/forms/{made.json()['id']}"
    assert await status(anonymous, joined, path) == 200
    assert await status(anonymous, stranger, path) == 404


async def test_what_is_done_in_a_session_is_done_by_the_member(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    joined = await join(services, account, email="ada@example.com")
    body = {"name": "k", "kind": "management"}
    key = (await client.post("/v1/api-keys", json=body, headers=bearer(joined))).json()
    assert key["created_by"] == joined.member.id
    query = {"action": "key.created", "actor": joined.member.id}
    [event] = (await client.get("/v1/audit-log", params=query)).json()["data"]
    assert event["target"] == key["id"]
    expected = {"kind": "user", "id": joined.member.id, "name": "ada@example.com"}
    assert event["actor"] == expected


async def test_a_session_that_lacks_a_right_is_told_to_the_audit_log_by_its_member(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    joined = await join(services, account, "viewer")
    assert await status(client, joined, "/v1/audit-log") == 403
    await services.refusals.flush()
    [event] = (await client.get("/v1/audit-log?action=credential.refused")).json()["data"]
    assert (event["actor"]["kind"], event["actor"]["id"]) == ("user", joined.member.id)


async def test_a_member_gives_no_key_more_than_they_have(
    anonymous: httpx.AsyncClient, services: Services, account: Account
) -> None:
    joined = await join(services, account, rights=["keys:manage", "forms:read"])
    body = {"name": "k", "kind": "management", "scopes": ["forms:read"]}
    made = await anonymous.post("/v1/api-keys", json=body, headers=bearer(joined))
    assert made.status_code == 201
    for scopes in (["forms:read", "forms:write"], None):
        answer = await anonymous.post(
            "/v1/api-keys", json=body | {"scopes": scopes}, headers=bearer(joined)
        )
        assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (
            403,
            "insufficient-scope",
        )


async def test_a_member_is_limited_over_all_of_their_sessions(
    anonymous: httpx.AsyncClient, services: Services, account: Account, clock: ManualClock
) -> None:
    plans = Plans({"selfhost": Plan(file_megabytes=0, requests_per_minute=1_000)}, "selfhost")
    limits = ApiLimits(LocalRateLimiter(clock), services.database, plans, 1_000)
    object.__setattr__(services, "api_limits", limits)
    joined, colleague = [await join(services, account) for _ in range(2)]
    second = {"Authorization": f"Bearer {await another_of(anonymous, services, joined)}"}
    for headers in [bearer(joined), second] * (BURST // 2):
        assert (await anonymous.get("/v1/forms", headers=headers)).status_code == 200
    for headers in (bearer(joined), second):
        assert (await anonymous.get("/v1/forms", headers=headers)).status_code == 429
    assert await status(anonymous, colleague, "/v1/forms") == 200
    clock.advance(1)
    answer = await anonymous.get("/v1/forms", headers=second)
    assert (answer.status_code, answer.headers["x-ratelimit-limit"]) == (200, "1000")


async def test_a_key_has_no_session(client: httpx.AsyncClient, account: Account) -> None:
    for method, path in (
        ("GET", "/v1/auth/session"),
        ("DELETE", "/v1/auth/session"),
        ("GET", "/v1/auth/sessions"),
        ("DELETE", "/v1/auth/sessions"),
    ):
        answer = await client.request(method, path, headers=account.headers)
        assert (answer.status_code, answer.json()["scope"]) == (403, "session")


async def test_an_unsafe_request_of_a_session_may_be_repeated(
    anonymous: httpx.AsyncClient, services: Services, account: Account
) -> None:
    headers = bearer(await join(services, account)) | {"Idempotency-Key": "once"}
    made = [
        (await anonymous.post("/v1/forms", json={"name": "A"}, headers=headers)).json()["id"]
        for _ in range(2)
    ]
    assert made[0] == made[1]
