from dataclasses import replace

import httpx
import orjson
import pytest
from sqlalchemy import select
from starlette.applications import Starlette

from backend.access import OWNERSHIP, RIGHTS, SESSION
from backend.api import Operation, finish_app, routes_of
from backend.management import OPERATIONS, Services, create_services, management_routes
from backend.tables import audit_log
from contracts.internal import FORWARDED_BY, forwarding_proof
from contracts.keys import KeyKind, mint_key
from contracts.runtime.settings import load_settings
from tests.backend.builders import Account, add_account, add_form, create_key
from tests.backend.conftest import OPERATOR_TOKEN

pytestmark = pytest.mark.asyncio


def bearer(credential: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {credential}"}


@pytest.mark.parametrize("header", [None, "", "Basic YTpi", "Bearer", "Bearer  "])
async def test_without_a_credential_every_operation_answers_401(
    anonymous: httpx.AsyncClient, header: str | None
) -> None:
    headers = {} if header is None else {"Authorization": header}
    for operation in OPERATIONS:
        if operation.right is not None:
            answer = await anonymous.request(operation.method, operation.path, headers=headers)
            assert (answer.status_code, answer.json()["type"].split("/")[-1]) == (
                401,
                "unauthorized",
            )
            assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_bad_key_is_403_invalid_key(anonymous: httpx.AsyncClient, account: Account) -> None:
    unknown = mint_key(KeyKind.MANAGEMENT).text
    mistyped = account.key[:-1] + ("0" if account.key[-1] != "0" else "1")
    for credential in (unknown, mistyped, "x", "ff_mgmt_", "é"):
        answer = await anonymous.get("/v1/forms", headers=_raw(credential))
        assert (answer.status_code, answer.json()["type"].split("/")[-1]) == (403, "invalid-key")


def _raw(credential: str) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", b"Bearer " + credential.encode())]


async def test_every_right_that_an_operation_needs_exists() -> None:
    needed = {operation.right for operation in OPERATIONS} - {None}
    assert needed <= RIGHTS | {SESSION, OWNERSHIP}


async def test_public_operations_ignore_credentials(anonymous: httpx.AsyncClient) -> None:
    for operation in OPERATIONS:
        if operation.right is None:
            answer = await anonymous.request(
                operation.method, operation.path, headers=bearer("wrong")
            )
            assert answer.status_code not in {401, 403}


async def test_the_operator_acts_on_the_first_account(
    anonymous: httpx.AsyncClient, services: Services
) -> None:
    assert (await anonymous.get("/v1/forms", headers=bearer(OPERATOR_TOKEN))).status_code == 403
    first = await add_account(services)
    services.clock.advance(1)  # type: ignore[attr-defined]
    await add_account(services)
    form = await add_form(services, first)
    answer = await anonymous.get("/v1/forms", headers=bearer(OPERATOR_TOKEN))
    assert [item["id"] for item in answer.json()["data"]] == [form.id]


async def test_lists_show_only_ones_own(client: httpx.AsyncClient, services: Services) -> None:
    other = await add_account(services)
    await add_form(services, other)
    assert (await client.get("/v1/forms")).json()["data"] == []
    assert len((await client.get("/v1/api-keys")).json()["data"]) == 1


@pytest.mark.parametrize("right", ["", "forms:fly", "FORMS:READ", "none"])
async def test_an_operation_with_an_unknown_right_does_not_start(
    services: Services, right: str
) -> None:
    operation = replace(OPERATIONS[0], right=right)
    with pytest.raises(ValueError, match="there is no right"):
        routes_of([operation], services)


async def test_an_operation_must_say_that_it_is_public() -> None:
    members = {"method": "GET", "path": "/v1/x", "handler": OPERATIONS[0].handler, "summary": "x"}
    with pytest.raises(TypeError, match="right"):
        Operation(**members)  # type: ignore[arg-type]


async def calls_from(
    services: Services, key: str, peer: str = "192.0.2.1", **headers: str
) -> tuple[int, str]:
    """The status and problem of a call that comes from an address."""
    app = finish_app(
        Starlette(routes=management_routes(services)), "https://x", services.clock, services
    )
    transport = httpx.ASGITransport(app, client=(peer, 5_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://backend") as caller:
        answer = await caller.get("/v1/forms", headers=bearer(key) | headers)
    problem = "" if answer.is_success else answer.json()["type"].rpartition("/")[2]
    return answer.status_code, problem


async def restricted_key(services: Services, account: Account, network: str) -> str:
    terms = {"allowed_ips": (network,)}
    _, text = await services.keys.create(account.principal, "k", KeyKind.MANAGEMENT, terms)
    return text


@pytest.mark.parametrize(
    ("peer", "is_allowed"),
    [
        ("192.0.2.1", True),
        ("192.0.3.1", False),
        ("::ffff:192.0.2.9", True),
        ("2001:db8::1", False),
    ],
)
async def test_a_key_is_good_only_from_its_networks(
    services: Services, account: Account, peer: str, is_allowed: bool
) -> None:
    key = await restricted_key(services, account, "192.0.2.0/24")
    expected = (200, "") if is_allowed else (403, "ip-not-allowed")
    assert await calls_from(services, key, peer) == expected


async def test_a_forwarded_address_counts_only_with_the_gateways_proof(
    services: Services, account: Account, database_url: str
) -> None:
    token = "an-internal-token-for-tests"
    settings = load_settings(environ={}, database_url=database_url, internal_token=token)
    behind = create_services(settings, services.clock, services.database, hash_cost=4)
    key = await restricted_key(behind, account, "198.51.100.7/32")
    proof = {FORWARDED_BY.decode(): forwarding_proof(token).decode()}
    claim = {"x-forwarded-for": "198.51.100.7"}
    denied = (403, "ip-not-allowed")
    assert await calls_from(behind, key, **claim) == denied
    wrong = {FORWARDED_BY.decode(): forwarding_proof("another-token-of-theirs").decode()}
    assert await calls_from(behind, key, **claim, **wrong) == denied
    assert await calls_from(behind, key, **claim, **{FORWARDED_BY.decode(): token}) == denied
    assert await calls_from(behind, key, **claim, **proof) == (200, "")
    assert await calls_from(behind, key, "198.51.100.7", **proof) == denied
    elsewhere = {"x-forwarded-for": "192.0.2.1"}
    assert await calls_from(behind, key, "198.51.100.7", **elsewhere, **proof) == denied


async def test_behind_a_proxy_a_caller_is_the_hop_that_the_proxy_names(
    services: Services, account: Account, database_url: str
) -> None:
    settings = load_settings(environ={}, database_url=database_url, trusted_proxies="192.0.2.0/24")
    behind = create_services(settings, services.clock, services.database, hash_cost=4)
    claims = {
        "x-forwarded-for": "1.1.1.1, 198.51.100.7, 192.0.2.9",
        "forwarded": "for=2.2.2.2",
        "cf-connecting-ip": "3.3.3.3",
    }
    for network in ("1.1.1.1/32", "2.2.2.2/32", "3.3.3.3/32", "192.0.2.0/24"):
        key = await restricted_key(behind, account, network)
        assert await calls_from(behind, key, **claims) == (403, "ip-not-allowed")
    key = await restricted_key(behind, account, "198.51.100.7/32")
    assert await calls_from(behind, key, **claims) == (200, "")
    assert await calls_from(behind, key, "203.0.113.5", **claims) == (403, "ip-not-allowed")


async def test_a_refused_right_and_a_strange_credential_are_told_to_the_audit_log(
    client: httpx.AsyncClient, services: Services
) -> None:
    key = await create_key(client, "submission")
    await client.get("/v1/forms", headers=bearer(key["key"]))
    await client.get("/v1/forms", headers=bearer("a password sent by mistake"))
    await services.refusals.flush()
    async with services.database.read() as connection:
        query = select(audit_log.c.details).where(audit_log.c.action == "credential.refused")
        reasons = (await connection.execute(query)).scalars().all()
    assert [orjson.loads(text)["reason"] for text in sorted(reasons)] == [
        "insufficient-scope",
        "unrecognised",
    ]
    assert "password" not in repr(reasons)
