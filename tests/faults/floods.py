"""Floods of addresses and slugs nobody has seen before, and an honest visitor beside them."""

import asyncio
import ipaddress
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.fleet import FaultyFleet, faulty_fleet, start_all
from tests.faults.paced import PacedVisitors, p99_ms
from tests.faults.wire import Connection, request
from tests.support.fleet import resident_bytes

_CONNECTIONS = 24
_HONEST_RATE = 20.0
_FIRST_V6 = int(ipaddress.IPv6Address("2001:db8::"))
_FIRST_V4 = int(ipaddress.IPv4Address("11.0.0.0"))


@dataclass(slots=True)
class Flood:
    """What a flood did: bytes of the gateway's memory before, how many more after it, and how many
    more again after as much again; the statuses of the flood; and the honest visitor's times."""

    before: int
    grown: int = 0
    grown_again: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    honest_p99_ms: float = 0.0
    honest_posts: int = 0
    honest_not_stored: int = 0
    per_second: int = 0


async def run_addresses(directory: Path, count: int, visitors_max: int | None = None) -> Flood:
    """So many visitors, every second one of them by IPv6, each with an address of its own."""
    settings = {} if visitors_max is None else {"RATE_LIMIT_VISITORS": str(visitors_max)}
    return await _run(directory, count, _with_address, settings)


async def run_slugs(directory: Path, count: int) -> Flood:
    """So many posts to forms that do not exist, none twice."""
    return await _run(directory, count, _with_slug, {})


def _with_address(number: int) -> bytes:
    if number % 2:
        address = str(ipaddress.IPv6Address(_FIRST_V6 + (number << 64)))
    else:
        address = str(ipaddress.IPv4Address(_FIRST_V4 + number))
    # Refused behind the rate limit, so that the store is not what is measured.
    headers = {"X-Forwarded-For": address, "Content-Type": "text/plain"}
    return request("/v1/f/demo", b"", headers)


def _with_slug(number: int) -> bytes:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return request(f"/v1/f/nobody-{number}", b"a=b", headers)


async def _run(
    directory: Path, count: int, make: Callable[[int], bytes], settings: dict[str, str]
) -> Flood:
    settings |= {"TRUSTED_PROXIES": "127.0.0.0/8"}
    with faulty_fleet(directory, gateways=1, **settings) as fleet:
        await asyncio.to_thread(start_all, fleet)
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
        return flood


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
    flood.honest_not_stored = sum(sample.status != 200 for sample in samples)


async def _flood(url: str, flood: Flood, messages: Iterator[bytes]) -> None:
    async def client() -> None:
        connection = Connection(url)
        for message in messages:
            flood.statuses[(await connection.send(message)).status] += 1
        connection.close()

    await asyncio.gather(*(client() for _ in range(_CONNECTIONS)))
