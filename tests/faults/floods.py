"""Floods of addresses, slugs and idempotency keys nobody has seen before, and an honest visitor
beside them."""

import asyncio
import ipaddress
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import orjson
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import select

from backend.tables import idempotency_keys
from tests.faults.fleet import FaultyFleet, faulty_fleet, start_all
from tests.faults.paced import PacedVisitors, p99_ms
from tests.faults.verdict import read, read_rows
from tests.faults.wire import Connection, request
from tests.support.fleet import resident_bytes

_CONNECTIONS = 24
_HONEST_RATE = 20.0
_DRAIN_SECONDS = 60.0
_FIRST_V6 = int(ipaddress.IPv6Address("2001:db8::"))
_FIRST_V4 = int(ipaddress.IPv4Address("11.0.0.0"))
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
# A form that refuses what the flood posts, behind the look at its key.
_STRICT = "strict"
# The gateway's tables that a stranger could fill, by gauge.
TABLES = (
    "formflow_rate_limit_windows",
    "formflow_cached_absent_forms",
    "formflow_cached_refused_keys",
    "formflow_idempotency_keys",
)


@dataclass(slots=True)
class Flood:
    """What a flood did: bytes of the gateway's memory before, how many more after it, and how many
    more again after as much again; the statuses of the flood; the honest visitor's times; and how
    much is in the gateway's tables in the end, by gauge, and in the backend's of idempotency keys.
    """

    before: int
    grown: int = 0
    grown_again: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    honest_p99_ms: float = 0.0
    honest_posts: int = 0
    honest_not_stored: int = 0
    per_second: int = 0
    gauges: dict[str, int] = field(default_factory=dict)
    keys_bound: int = 0


Commands = dict[str, list[str]] | None


async def run_addresses(
    directory: Path, count: int, visitors_max: int | None = None, commands: Commands = None
) -> Flood:
    """So many visitors, every second one of them by IPv6, each with an address of its own."""
    settings = {} if visitors_max is None else {"RATE_LIMIT_VISITORS": str(visitors_max)}
    return await _run(directory, count, _with_address, settings, commands)


async def run_slugs(directory: Path, count: int, commands: Commands = None) -> Flood:
    """So many posts to forms that do not exist, none twice."""
    return await _run(directory, count, _with_slug, {}, commands)


async def run_idempotency_keys(directory: Path, count: int, commands: Commands = None) -> Flood:
    """So many posts that are refused, each with a key of its own."""
    return await _run(directory, count, _with_key, {}, commands)


def _with_address(number: int) -> bytes:
    if number % 2:
        address = str(ipaddress.IPv6Address(_FIRST_V6 + (number << 64)))
    else:
        address = str(ipaddress.IPv4Address(_FIRST_V4 + number))
    # Refused behind the rate limit, so that the store is not what is measured.
    headers = {"X-Forwarded-For": address, "Content-Type": "text/plain"}
    return request("/v1/f/demo", b"", headers)


def _with_slug(number: int) -> bytes:
    return request(f"/v1/f/nobody-{number}", b"a=b", _FORM)


def _with_key(number: int) -> bytes:
    return request(f"/v1/f/{_STRICT}", b"a=b", _FORM | {"Idempotency-Key": f"flood-{number}"})


async def _run(
    directory: Path,
    count: int,
    make: Callable[[int], bytes],
    settings: dict[str, str],
    commands: Commands,
) -> Flood:
    settings |= {"TRUSTED_PROXIES": "127.0.0.0/8"}
    with faulty_fleet(directory, gateways=1, **settings) as fleet:
        fleet.commands = commands or {}
        await asyncio.to_thread(start_all, fleet)
        await asyncio.to_thread(_add_strict_form, fleet)
        honest = PacedVisitors(fleet.gateways, _HONEST_RATE)
        honest.headers["X-Forwarded-For"] = "198.51.100.7"
        load = asyncio.create_task(honest.run())
        try:
            await asyncio.sleep(1.0)
            flood = Flood(resident_bytes(fleet.pid("gateway-0")))
            await _flood_twice(fleet, flood, honest, count, make)
        finally:
            load.cancel()
            await asyncio.wait([load])
        await asyncio.to_thread(fleet.until_drained, _DRAIN_SECONDS)
        flood.gauges = _gauges(fleet)
        flood.keys_bound = len(await read(fleet, select(idempotency_keys.c.key)))
        stored = {orjson.loads(row.payload)["n"] for row in await read_rows(fleet)}
        flood.honest_not_stored = sum(each.marker not in stored for each in honest.samples)
        return flood


def _add_strict_form(fleet: FaultyFleet) -> None:
    field = {"name": "email", "type": "email", "required": True}
    members = {"name": "Strict", "slug": _STRICT, "fields": [field], "enforce_fields": True}
    with fleet.manager() as manager:
        answer = manager.post("/v1/forms", json=members | {"rate_limit_per_minute": 100_000})
        answer.raise_for_status()


def _gauges(fleet: FaultyFleet) -> dict[str, int]:
    """The sizes of the gateway's tables, as it tells them."""
    _, body = fleet.get("gateway-0", "/metrics")
    families = text_string_to_metric_families(body.decode())
    return {
        family.name: int(family.samples[0].value) for family in families if family.type == "gauge"
    }


async def _flood_twice(
    fleet: FaultyFleet,
    flood: Flood,
    honest: PacedVisitors,
    count: int,
    make: Callable[[int], bytes],
) -> None:
    loop, pid = asyncio.get_running_loop(), fleet.pid("gateway-0")
    started = loop.time()
    await _flood(fleet.gateways[0], flood, map(make, range(count)))
    flood.per_second = round(count / (loop.time() - started))
    flood.grown = resident_bytes(pid) - flood.before
    await _flood(fleet.gateways[0], flood, map(make, range(count, 2 * count)))
    flood.grown_again = resident_bytes(pid) - flood.before - flood.grown
    samples = honest.between(started, loop.time())
    flood.honest_p99_ms = p99_ms(samples)
    flood.honest_posts = len(samples)


async def _flood(url: str, flood: Flood, messages: Iterator[bytes]) -> None:
    async def client() -> None:
        connection = Connection(url)
        for message in messages:
            flood.statuses[(await connection.send(message)).status] += 1
        connection.close()

    await asyncio.gather(*(client() for _ in range(_CONNECTIONS)))
