"""Keys over a whole fleet: what ends or changes at the backend ends or changes everywhere."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from backend.app import Backend
from contracts import internal
from contracts.runtime.settings import Settings, load_settings
from gateway.app import Gateway
from tests.support.fleet import TOKEN, Fleet, running_fleet
from tests.support.gateways import client_of
from tests.support.processes import until

_LIFE_SECONDS = 12


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with running_fleet(
        tmp_path_factory.mktemp("fleet"), gateways=3, KEY_MINTS_PER_HOUR="100"
    ) as fleet:
        yield fleet


def mint(fleet: Fleet, **members: Any) -> dict[str, Any]:
    with fleet.manager() as manager:
        body = {"name": "fleet", "kind": "submission"} | members
        answer = manager.post("/v1/api-keys", json=body).raise_for_status()
        document: dict[str, Any] = answer.json()
        return document


def posts(fleet: Fleet, key: dict[str, Any]) -> list[str]:
    """What a post with the key meets at each gateway: a problem, or the status of a success."""
    found = []
    for url in fleet.gateways:
        headers = {"authorization": f"Bearer {key['key']}"}
        answer = httpx.post(f"{url}/v1/f/demo", json={"a": "b"}, headers=headers, timeout=20.0)
        is_success = answer.is_success
        found.append(
            str(answer.status_code) if is_success else answer.json()["type"].rpartition("/")[2]
        )
    return found


def test_a_revoked_key_stores_nothing_anywhere_once_that_is_acknowledged(fleet: Fleet) -> None:
    key = mint(fleet)
    assert posts(fleet, key) == ["200"] * 3
    with fleet.manager() as manager:
        assert manager.delete(f"/v1/api-keys/{key['id']}").status_code == 204
    assert posts(fleet, key) == ["invalid-key"] * 3


def test_a_key_rotated_without_grace_ends_on_every_gateway(fleet: Fleet) -> None:
    key = mint(fleet)
    assert posts(fleet, key) == ["200"] * 3
    with fleet.manager() as manager:
        answer = manager.post(f"/v1/api-keys/{key['id']}/rotate", json={"grace_hours": 0})
    assert posts(fleet, key) == ["invalid-key"] * 3
    assert posts(fleet, answer.raise_for_status().json()) == ["200"] * 3


def test_a_changed_key_is_changed_on_every_gateway(fleet: Fleet) -> None:
    key = mint(fleet)
    assert posts(fleet, key) == ["200"] * 3
    with fleet.manager() as manager:
        changes = {"allowed_ips": ["198.51.100.0/24"]}
        manager.patch(f"/v1/api-keys/{key['id']}", json=changes).raise_for_status()
    until(lambda: posts(fleet, key) == ["ip-not-allowed"] * 3)


def test_a_leaked_key_ends_on_every_gateway_by_a_report_through_one(fleet: Fleet) -> None:
    key = mint(fleet)
    assert posts(fleet, key) == ["200"] * 3
    headers = {"content-type": "text/plain"}
    url = f"{fleet.gateways[0]}/v1/keys/leaked"
    assert httpx.post(url, content=key["key"], headers=headers, timeout=20.0).status_code == 202
    assert posts(fleet, key) == ["invalid-key"] * 3


def test_an_expired_key_ends_on_every_gateway_without_the_backend(fleet: Fleet) -> None:
    ends = datetime.now(UTC) + timedelta(seconds=_LIFE_SECONDS)  # noqa: TID251 -- real processes
    key = mint(fleet, expires_at=ends.isoformat(timespec="milliseconds"))
    assert posts(fleet, key) == ["200"] * 3
    fleet.kill("backend")
    try:
        until(lambda: posts(fleet, key) == ["invalid-key"] * 3)
    finally:
        fleet.start("backend")
    assert posts(fleet, key) == ["invalid-key"] * 3


@asynccontextmanager
async def serving(backend: Backend, credential: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a backend that runs in this process."""
    headers = {"authorization": f"Bearer {credential}"}
    transport = httpx.ASGITransport(backend)
    async with (
        backend.running(),
        httpx.AsyncClient(transport=transport, base_url="http://x", headers=headers) as client,
    ):
        yield client


def settings_of(data_dir: Path) -> Settings:
    return load_settings(
        environ={}, data_dir=data_dir, internal_token=TOKEN, spool="off", log_level="error"
    )


@pytest.mark.asyncio
async def test_behind_a_gateway_the_visitors_address_counts(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    backend = Backend(settings)
    gateway = Gateway(settings, transport=httpx.ASGITransport(backend))
    async with (
        serving(backend, TOKEN) as peer,
        gateway.running(),
        client_of(gateway, "198.51.100.7") as visitor,
        client_of(gateway, "192.0.2.1") as stranger,
    ):
        first = (await peer.post(internal.BOOTSTRAP)).json()
        visitor.headers["authorization"] = f"Bearer {first['management_key']}"
        body = {"name": "x", "kind": "management", "allowed_ips": ["198.51.100.7"]}
        key = (await visitor.post("/v1/api-keys", json=body)).json()["key"]
        bearer = {"authorization": f"Bearer {key}"}
        assert (await visitor.get("/v1/forms", headers=bearer)).status_code == 200
        claim = bearer | {"x-forwarded-for": "198.51.100.7"}
        refused = await stranger.get("/v1/forms", headers=claim)
        assert refused.json()["type"].endswith("/ip-not-allowed")


@pytest.mark.asyncio
async def test_when_a_key_was_used_last_is_known_after_a_restart(tmp_path: Path) -> None:
    async with serving(Backend(settings_of(tmp_path)), TOKEN) as peer:
        key = (await peer.post(internal.BOOTSTRAP)).json()["management_key"]
    for was_used in (False, True):
        async with serving(Backend(settings_of(tmp_path)), key) as client:
            [shown] = (await client.get("/v1/api-keys")).json()["data"]
            assert (shown["last_used_at"] is not None) is was_used
