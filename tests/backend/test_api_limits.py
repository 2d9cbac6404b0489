"""How often the management API may be called, and what its answers say of it."""

import re

import httpx
import pytest

from backend.api_limits import ACCOUNT_FACTOR, BURST, ApiLimits
from backend.plans.catalogue import Plan, Plans
from backend.services import Services
from contracts.runtime.ratelimit import LocalRateLimiter
from tests.backend.builders import Account, add_account, create_key
from tests.backend.conftest import OPERATOR_TOKEN
from tests.support.clock import ManualClock

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
]

PER_MINUTE = 60
ANONYMOUS = 20
ROUNDS = 3


@pytest.fixture(autouse=True)
def limits(services: Services, clock: ManualClock) -> None:
    """A plan so small that its limits are reached soon."""
    plans = Plans({"selfhost": Plan(file_megabytes=0, requests_per_minute=PER_MINUTE)}, "selfhost")
    limiter = LocalRateLimiter(clock)
    limits = ApiLimits(limiter, services.database, plans, ANONYMOUS)
    object.__setattr__(services, "api_limits", limits)


def rate(answer: httpx.Response) -> tuple[int, int, int]:
    names = ("limit", "remaining", "reset")
    limit, remaining, reset = (int(answer.headers[f"x-ratelimit-{name}"]) for name in names)
    return limit, remaining, reset


async def test_every_answer_says_how_often(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/forms")
    assert rate(answer) == (PER_MINUTE, PER_MINUTE - 1, 60)
    assert answer.headers["ratelimit-policy"] == f'"default";q={PER_MINUTE};w=60'
    assert answer.headers["ratelimit"] == f'"default";r={PER_MINUTE - 1};t=60'
    assert rate(await client.get("/v1/forms/frm_none"))[1] == PER_MINUTE - 2
    assert rate(await client.post("/v1/forms", json={}))[1] == PER_MINUTE - 3


async def test_without_a_good_credential_the_address_counts(anonymous: httpx.AsyncClient) -> None:
    requests = [
        ("GET", "/v1/health", {}),
        ("GET", "/v1/forms", {}),
        ("GET", "/v1/forms", {"Authorization": "Bearer wrong"}),
        ("GET", "/nowhere", {}),
        ("PUT", "/v1/forms", {}),
    ]
    for count, (method, path, headers) in enumerate(requests, 1):
        answer = await anonymous.request(method, path, headers=headers)
        assert rate(answer)[:2] == (ANONYMOUS, ANONYMOUS - count)


async def test_beyond_the_burst_it_is_429_with_retry_after(
    client: httpx.AsyncClient, clock: ManualClock
) -> None:
    for _ in range(BURST):
        assert (await client.get("/v1/forms")).status_code == 200
    refused = await client.get("/v1/forms")
    assert refused.status_code == 429
    assert refused.json()["type"].endswith("/rate-limited")
    assert refused.json()["retry_after"] == 1
    assert refused.headers["retry-after"] == "1"
    assert rate(refused) == (BURST, 0, 1)
    assert re.match(r'"burst";', refused.headers["ratelimit-policy"])
    clock.advance(1)
    assert (await client.get("/v1/forms")).status_code == 200


async def test_beyond_the_minute_it_is_429_until_there_is_room(
    client: httpx.AsyncClient, clock: ManualClock
) -> None:
    statuses = await _call_for_a_minute(client, clock)
    assert statuses == [200] * PER_MINUTE
    refused = await client.get("/v1/forms")
    assert (refused.status_code, rate(refused)[:2]) == (429, (PER_MINUTE, 0))
    clock.advance(int(refused.headers["retry-after"]))
    assert (await client.get("/v1/forms")).status_code == 200


async def _call_for_a_minute(client: httpx.AsyncClient, clock: ManualClock) -> list[int]:
    statuses = []
    for number in range(PER_MINUTE):
        if number % BURST == 0:
            clock.advance(1)
        statuses.append((await client.get("/v1/forms")).status_code)
    return statuses


async def test_a_key_has_its_own_windows_and_accounts_do_not_share(
    client: httpx.AsyncClient, services: Services
) -> None:
    for _ in range(BURST + 1):
        last = await client.get("/v1/forms")
    assert last.status_code == 429
    other = await add_account(services)
    assert (await client.get("/v1/forms", headers=other.headers)).status_code == 200


async def test_the_keys_of_an_account_share_a_wider_window(
    client: httpx.AsyncClient, services: Services, clock: ManualClock, account: Account
) -> None:
    keys = [account.key]
    for _ in range(ACCOUNT_FACTOR):
        keys.append((await create_key(client, "management"))["key"])
    clock.advance(60)
    statuses = []
    for _ in range(ROUNDS):
        clock.advance(1)
        for key in keys:
            for _ in range(PER_MINUTE // ROUNDS):
                answer = await client.get("/v1/forms", headers={"Authorization": f"Bearer {key}"})
                statuses.append(answer.status_code)
    assert statuses.count(200) == ACCOUNT_FACTOR * PER_MINUTE
    assert statuses.count(429) == PER_MINUTE


async def test_anonymous_calls_are_429_beyond_the_limit_of_their_address(
    anonymous: httpx.AsyncClient, account: Account
) -> None:
    for _ in range(ANONYMOUS):
        assert (await anonymous.get("/v1/health")).status_code == 200
    for path in ("/v1/health", "/v1/forms", "/nowhere"):
        refused = await anonymous.get(path)
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) > 0
    assert (await anonymous.get("/v1/forms", headers=account.headers)).status_code == 200


async def test_the_local_operator_is_not_limited(
    client: httpx.AsyncClient, account: Account
) -> None:
    headers = {"Authorization": f"Bearer {OPERATOR_TOKEN}"}
    for _ in range(BURST * 2):
        assert (await client.get("/v1/forms", headers=headers)).status_code == 200


async def test_replays_count(client: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "once"}
    answers = [
        await client.post("/v1/forms", json={"name": "A"}, headers=headers) for _ in range(2)
    ]
    assert [rate(answer)[1] for answer in answers] == [PER_MINUTE - 1, PER_MINUTE - 2]
