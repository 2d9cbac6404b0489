"""Webhooks while the backend is killed at any instant, and while other targets hang."""

import asyncio
import random
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from tests.faults.fleet import FaultyFleet, faulty_fleet, start_all
from tests.faults.paced import PacedVisitors, Sample, percentile
from tests.faults.targets import Targets, targets
from tests.support.processes import until

SETTINGS = {
    "WEBHOOK_ALLOW_HTTP": "true",
    "WEBHOOK_ALLOW_CIDRS": "127.0.0.0/8",
    "DELIVERY_RETRY_SECONDS": "0.2,0.5,1",
    "DELIVERY_ATTEMPTS": "20",
}
_RATE = 40.0
_WEBHOOKS_OF_A_FORM = 20
_DONE_SECONDS = 90.0


@dataclass(slots=True)
class Kills:
    """What a run found: the acknowledged posts, those of which no delivery was acknowledged, the
    submissions that went out under more than one id, and attempts of what was acknowledged
    already."""

    acknowledged: int
    undelivered: list[str]
    split: list[str]
    repeated: int


@dataclass(slots=True)
class Beside:
    """What a run found: how many attempts hung at least at once, and the seconds from a post to its
    delivery at the good target, 99th percentile."""

    hanging: int
    posts: int
    undelivered: list[str]
    p99_seconds: float


async def run_kills(
    directory: Path,
    kills: int,
    seed: int,
    commands: dict[str, list[str]] | None = None,
    patience_seconds: float = _DONE_SECONDS,
) -> Kills:
    """Kills the backend again and again while a moody target is told of every submission. What is
    not delivered so long after the end counts as undelivered."""
    chance = random.Random(seed)
    with faulty_fleet(directory, gateways=1, **SETTINGS) as fleet:
        fleet.commands = commands or {}
        async with targets() as server:
            await asyncio.to_thread(start_all, fleet)
            await asyncio.to_thread(add_webhook, fleet, f"{server.url}/moody")
            visitors = PacedVisitors(fleet.gateways, _RATE)
            load = asyncio.create_task(visitors.run())
            try:
                for _ in range(kills):
                    await asyncio.sleep(chance.uniform(0.05, 1.0))
                    fleet.kill("backend")
                    await asyncio.to_thread(fleet.start, "backend")
                await asyncio.sleep(0.5)
            finally:
                load.cancel()
                await asyncio.wait([load])
            await asyncio.to_thread(fleet.until_drained, 60.0)
            markers = {sample.marker for sample in _acknowledged(visitors)}
            await until_told(server, markers, patience_seconds)
            return _judged(markers, server)


def _judged(markers: set[str], server: Targets) -> Kills:
    ids: dict[str, set[str]] = defaultdict(set)
    told: set[str] = set()
    repeated = 0
    for received in server.received:
        ids[received.marker].add(received.delivery_id)
        repeated += received.marker in told
        if received.is_acknowledged:
            told.add(received.marker)
    return Kills(
        len(markers),
        sorted(markers - told),
        sorted(marker for marker, found in ids.items() if len(found) > 1),
        repeated,
    )


async def run_beside_hanging(directory: Path, hanging: int, posts: int) -> Beside:
    """Posts to a form with a good target while so many others hang."""
    with faulty_fleet(directory, gateways=1, **SETTINGS) as fleet:
        async with targets() as server:
            await asyncio.to_thread(start_all, fleet)
            await asyncio.to_thread(add_webhook, fleet, f"{server.url}/good")
            slugs = await asyncio.to_thread(_add_hanging, fleet, f"{server.url}/hang", hanging)
            await _post(fleet, slugs)
            await asyncio.to_thread(until, lambda: server.hanging >= hanging, 60.0)
            visitors = PacedVisitors(fleet.gateways, _RATE)
            load = asyncio.create_task(visitors.run())
            await asyncio.sleep(posts / _RATE)
            load.cancel()
            await asyncio.wait([load])
            acknowledged = _acknowledged(visitors)
            markers = {sample.marker: sample.at for sample in acknowledged}
            await until_told(server, set(markers))
            took = [
                received.at - markers.pop(received.marker)
                for received in server.received
                if received.marker in markers
            ]
            return Beside(
                server.hanging, len(acknowledged), sorted(markers), round(percentile(took, 0.99), 3)
            )


def _acknowledged(visitors: PacedVisitors) -> list[Sample]:
    return [sample for sample in visitors.samples if sample.submission_id is not None]


async def until_told(server: Targets, markers: set[str], seconds: float = _DONE_SECONDS) -> None:
    """Returns when all of them are acknowledged, or after a deadline."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while loop.time() < deadline:
        if markers <= {each.marker for each in server.received if each.is_acknowledged}:
            return
        await asyncio.sleep(0.05)


def add_webhook(fleet: FaultyFleet, url: str) -> None:
    with fleet.manager() as manager:
        form_id = fleet.first["demo_form_id"]
        manager.patch(f"/v1/forms/{form_id}", json={"notify_emails": ""}).raise_for_status()
        manager.post(f"/v1/forms/{form_id}/webhooks", json={"url": url}).raise_for_status()


def _add_hanging(fleet: FaultyFleet, url: str, count: int) -> list[str]:
    """Forms with so many hanging webhooks among them; their slugs."""
    slugs = []
    with fleet.manager() as manager:
        for number in range(-(-count // _WEBHOOKS_OF_A_FORM)):
            members = {"name": "Hanging", "slug": f"hanging-{number}", "notify_emails": ""}
            form = manager.post("/v1/forms", json=members).raise_for_status().json()
            for _ in range(min(_WEBHOOKS_OF_A_FORM, count - number * _WEBHOOKS_OF_A_FORM)):
                path = f"/v1/forms/{form['id']}/webhooks"
                manager.post(path, json={"url": url}).raise_for_status()
            slugs.append(form["slug"])
    return slugs


async def _post(fleet: FaultyFleet, slugs: list[str]) -> None:
    for slug in slugs:
        visitors = PacedVisitors(fleet.gateways, 10.0, slug)
        load = asyncio.create_task(visitors.run())
        await asyncio.sleep(0.25)
        load.cancel()
        await asyncio.wait([load])
