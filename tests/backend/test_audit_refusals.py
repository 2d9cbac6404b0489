import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from starlette.applications import Starlette

from backend.api import finish_app
from backend.audit import refusals as module
from backend.audit.refusals import Refusals
from backend.caller import Caller
from backend.internal.routes import internal_routes
from backend.management import Services
from contracts.internal import CHANGES
from contracts.keys import KeyKind, mint_key
from contracts.problems import Rejected
from tests.backend.builders import Account, add_account
from tests.support.clock import ManualClock

pytestmark = pytest.mark.asyncio

ADA = Caller("192.0.2.1", "curl/8")


async def refused(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    """What the log says of refused credentials, oldest first."""
    answer = await client.get(
        "/v1/audit-log", params={"action": "credential.refused", "limit": 100}
    )
    assert answer.status_code == 200, answer.text
    events: list[dict[str, Any]] = answer.json()["data"]
    return events[::-1]


@pytest_asyncio.fixture
async def refusals(services: Services) -> AsyncIterator[Refusals]:
    yield services.refusals
    await services.refusals.flush()


async def test_a_refused_key_is_recorded_with_its_displayed_part_and_not_more(
    client: httpx.AsyncClient, services: Services
) -> None:
    key = mint_key(KeyKind.MANAGEMENT)
    headers = {"Authorization": f"Bearer {key.text}", "User-Agent": f"curl {key.text}"}
    answer = await client.get("/v1/forms", headers=headers)
    assert answer.status_code == 403
    await services.refusals.flush()
    [event] = await refused(client)
    assert event["outcome"] == "refused"
    assert event["actor"] == {"kind": "anonymous", "id": None, "name": None}
    assert event["target"] == key.display
    assert event["user_agent"] == f"curl {key.display}…"
    assert event["count"] == 1
    assert event["address"] is not None
    assert key.secret not in str(event)


async def test_a_wrong_internal_token_is_told_to_whoever_runs_the_server(
    client: httpx.AsyncClient, services: Services
) -> None:
    app = Starlette(routes=internal_routes(services, "the-internal-token"))
    finish_app(app, services.settings.problem_base, services.clock)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://backend") as stranger:
        headers = {"Authorization": "Bearer not-the-internal-token"}
        assert (await stranger.get(CHANGES, headers=headers)).status_code == 404
    await services.refusals.flush()
    [event] = await refused(client)
    assert event["details"] == {"reason": "internal-token"}
    assert event["target"] is None


async def test_what_repeats_within_an_interval_is_one_event_with_a_count(
    client: httpx.AsyncClient, services: Services, clock: ManualClock, refusals: Refusals
) -> None:
    for _ in range(1_000):
        clock.advance(0.01)
        refusals.note(ADA, None, "ff_mgmt_0123", "unknown")
    refusals.note(ADA, None, "ff_mgmt_0123", "revoked")
    refusals.note(Caller("192.0.2.2"), None, "ff_mgmt_0123", "unknown")
    await refusals.flush()
    counts = {
        (event["address"], event["details"]["reason"]): event for event in await refused(client)
    }
    assert {place: event["count"] for place, event in counts.items()} == {
        ("192.0.2.1", "unknown"): 1_000,
        ("192.0.2.1", "revoked"): 1,
        ("192.0.2.2", "unknown"): 1,
    }
    repeated = counts["192.0.2.1", "unknown"]
    assert repeated["details"]["first_at"] == "2026-05-28T20:26:40.010Z"
    assert repeated["occurred_at"] == "2026-05-28T20:26:50.000Z"
    clock.advance(60)
    refusals.note(ADA, None, "ff_mgmt_0123", "unknown")
    await refusals.flush()
    assert len(await refused(client)) == 4


async def test_addresses_of_one_ipv6_network_count_as_one(
    client: httpx.AsyncClient, refusals: Refusals
) -> None:
    for host in range(1, 500):
        refusals.note(Caller(f"2001:db8:1:2::{host:x}"), None, None, "malformed")
    refusals.note(Caller("2001:db8:1:3::1"), None, None, "malformed")
    await refusals.flush()
    assert {event["address"]: event["count"] for event in await refused(client)} == {
        "2001:db8:1:2::/64": 499,
        "2001:db8:1:3::1": 1,
    }


async def test_beyond_a_bound_distinct_refusals_share_one_event(
    client: httpx.AsyncClient,
    refusals: Refusals,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "PER_INTERVAL", 5)
    monkeypatch.setattr(module, "PER_DAY", 7)
    seen = []
    for interval in range(3):
        for host in range(200):
            refusals.note(Caller(f"10.0.{interval}.{host}"), None, None, "malformed")
        await refusals.flush()
        clock.advance(60)
        events = await refused(client)
        seen.append((len(events), sum(event["count"] for event in events)))
    assert seen == [(6, 200), (9, 400), (10, 600)]
    others = [event for event in await refused(client) if event["details"]["reason"] == "others"]
    assert [event["count"] for event in others] == [195, 198, 200]
    assert {event["address"] for event in others} == {None}
    clock.advance(24 * 3600)
    refusals.note(ADA, None, None, "malformed")
    await refusals.flush()
    assert (await refused(client))[-1]["address"] == "192.0.2.1"


async def test_a_flood_against_one_account_leaves_room_for_another(
    client: httpx.AsyncClient, services: Services, account: Account, refusals: Refusals
) -> None:
    other = await add_account(services)
    for host in range(module.PER_INTERVAL * 3):
        caller = Caller(f"10.0.{host // 256}.{host % 256}")
        refusals.note(caller, other.principal.account_id, "ff_sub_01234", "revoked")
    refusals.note(ADA, account.principal.account_id, "ff_sub_56789", "revoked")
    await refusals.flush()
    assert [event["target"] for event in await refused(client)] == ["ff_sub_56789"]
    client.headers.update(other.headers)
    assert len(await refused(client)) == module.PER_INTERVAL + 1


async def test_what_is_nobodys_is_told_to_the_first_account_only(
    client: httpx.AsyncClient, services: Services, account: Account, refusals: Refusals
) -> None:
    services.clock.advance(1)  # type: ignore[attr-defined]
    other = await add_account(services)
    refusals.note(ADA, None, None, "malformed")
    await refusals.flush()
    assert len(await refused(client)) == 1
    client.headers.update(other.headers)
    assert await refused(client) == []


async def test_what_is_noted_before_there_is_an_account_is_kept_for_it(
    anonymous: httpx.AsyncClient, services: Services
) -> None:
    services.refusals.note(ADA, None, None, "malformed")
    await services.refusals.flush()
    account = await add_account(services)
    services.refusals.note(ADA, None, None, "malformed")
    await services.refusals.flush()
    anonymous.headers.update(account.headers)
    assert [event["count"] for event in await refused(anonymous)] == [2]


async def test_what_cannot_be_written_is_written_later(
    client: httpx.AsyncClient, services: Services, refusals: Refusals
) -> None:
    refusals.note(ADA, None, None, "malformed")
    async with services.database.write() as connection:
        await connection.execute(text("ALTER TABLE audit_log RENAME TO hidden"))
    with pytest.raises((Rejected, DBAPIError)):
        await refusals.flush()
    refusals.note(ADA, None, None, "malformed")
    async with services.database.write() as connection:
        await connection.execute(text("ALTER TABLE hidden RENAME TO audit_log"))
    await refusals.flush()
    assert [event["count"] for event in await refused(client)] == [2]


async def test_the_background_task_writes_without_being_asked(
    client: httpx.AsyncClient,
    refusals: Refusals,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "INTERVAL_SECONDS", 0.01)
    refusals.note(ADA, None, None, "malformed")
    running = asyncio.create_task(refusals.run())
    async with asyncio.timeout(10):
        while not await refused(client):
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait([running])


@pytest.mark.parametrize(
    ("credential", "shown"),
    [
        ("ff_mgmt_0123", "ff_mgmt_0123"),
        ("ff_mgmt_0123456789ab_secret", "ff_mgmt_0123"),
        ("correct horse battery", None),
        ("", None),
        (None, None),
    ],
)
async def test_only_what_begins_like_a_key_is_shown_and_only_its_beginning(
    client: httpx.AsyncClient, refusals: Refusals, credential: str | None, shown: str | None
) -> None:
    refusals.note(ADA, None, credential, "malformed")
    await refusals.flush()
    assert [event["target"] for event in await refused(client)] == [shown]
