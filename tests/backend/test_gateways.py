"""Gateways make themselves known with each poll of the feed."""

import httpx
import pytest

from backend.management import Services
from contracts.internal import GatewayState
from tests.backend.builders import Account, add_account
from tests.support.clock import ManualClock

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
]


async def test_gateways_are_listed_with_their_state_and_forgotten_after_ten_minutes(
    client: httpx.AsyncClient, services: Services, clock: ManualClock
) -> None:
    services.gateways.note(GatewayState("b", "1.0", False, 3))
    clock.advance(590)
    services.gateways.note(GatewayState("a", "1.0", True, 0))
    found = (await client.get("/v1/gateways")).json()["data"]
    assert [(each["name"], each["status"], each["spooled"]) for each in found] == [
        ("a", "draining", 0),
        ("b", "silent", 3),
    ]
    clock.advance(11)
    found = (await client.get("/v1/gateways")).json()["data"]
    assert [each["name"] for each in found] == ["a"]


async def test_another_account_sees_no_machines(
    client: httpx.AsyncClient, services: Services, account: Account, clock: ManualClock
) -> None:
    clock.advance(1)
    other = await add_account(services)
    services.gateways.note(GatewayState("a", "1.0", False, 0))
    answer = await client.get("/v1/gateways", headers=other.headers)
    assert answer.json()["data"] == []
