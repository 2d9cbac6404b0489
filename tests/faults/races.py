"""Races over a fleet: one submission a key, exactly the quota, and revoked means revoked."""

import asyncio
import itertools
import random
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

import httpx
import orjson
from sqlalchemy import select

from backend.tables import submissions
from tests.faults.fleet import FaultyFleet, in_thread_until_ready
from tests.faults.limited import SLUG
from tests.faults.verdict import read
from tests.faults.wire import Connection, NoAnswer

_AT_ONCE = 12
_RETRIES = 40
_RETRY_SECONDS = 0.05


@dataclass(slots=True)
class KeyRaces:
    """What became of the rounds: those whose ids are not one submission, the posts that got no id,
    and the rounds with several ids, all but one of them aliases."""

    rounds: int = 0
    split: list[str] = field(default_factory=list)
    with_aliases: int = 0
    unanswered: int = 0
    stored: int = 0
    restarts: int = 0


async def race_for_keys(
    fleet: FaultyFleet, rounds: int, seed: int, restart_share: float
) -> KeyRaces:
    """In each round, twelve posts with one key at once over all gateways; in a share of them a
    process is killed and started meanwhile."""
    chance, races = random.Random(seed), KeyRaces(rounds)
    answered: list[set[str]] = []
    before = len(await read(fleet, select(submissions.c.id)))
    pools = [[Connection(url) for _ in range(_AT_ONCE)] for url in fleet.gateways]
    for number in range(rounds):
        key = f"race-{seed}-{number}"
        posts = [_insist(pools[post % len(pools)][post], "demo", key) for post in range(_AT_ONCE)]
        restart = None
        if chance.random() < restart_share:
            restart = asyncio.create_task(_restart(fleet, chance.choice(fleet.names)))
            races.restarts += 1
        ids = await asyncio.gather(*posts)
        if restart is not None:
            await restart
        races.unanswered += ids.count(None)
        answered.append({each for each in ids if each is not None})
    for connection in itertools.chain.from_iterable(pools):
        connection.close()
    await asyncio.to_thread(fleet.until_drained, 30.0)
    races.with_aliases = sum(len(ids) > 1 for ids in answered)
    races.split = await asyncio.to_thread(_not_one, fleet, answered)
    races.stored = len(await read(fleet, select(submissions.c.id))) - before
    return races


def _not_one(fleet: FaultyFleet, rounds: list[set[str]]) -> list[str]:
    """The rounds whose ids the API shows as several submissions, or as none."""
    wrong = []
    with fleet.manager() as manager:
        for ids in rounds:
            answers = [manager.get(f"/v1/submissions/{each}") for each in ids if len(ids) > 1]
            shown = {answer.json().get("id") for answer in answers}
            if len(shown) > 1 or None in shown:
                wrong.append(f"{sorted(ids)}: {sorted(map(str, shown))}")
    return wrong


def is_exact(statuses: Counter[int], limit: int, posts: int) -> bool:
    """Whether as many posts were accepted as the quota allows. Where the machine has stalled until
    a gateway could not ask the backend, units on lease may be left: then no more than that."""
    accepted = statuses[200] + statuses[202]
    if statuses.keys() <= {200, 402}:
        return statuses == {200: limit, 402: posts - limit}
    return 0 < accepted <= limit and statuses.keys() <= {200, 202, 402, 503}


async def race_for_quota(fleet: FaultyFleet, posts: int) -> Counter[int]:
    """The statuses of so many posts at once to the form with a limit."""
    connections = [Connection(url) for url in fleet.gateways for _ in range(16)]
    turns: asyncio.Queue[Connection] = asyncio.Queue()
    for connection in connections:
        turns.put_nowait(connection)

    async def post(number: int) -> int:
        turn = await turns.get()
        try:
            return (await turn.post(f"/v1/f/{SLUG}", {"n": str(number)})).status
        finally:
            turns.put_nowait(turn)

    found = Counter(await asyncio.gather(*map(post, range(posts))))
    for connection in connections:
        connection.close()
    return found


@dataclass(slots=True)
class Revocations:
    """For each trial and gateway, the seconds from the revocation's acknowledgement to the last
    post that was sent then or later and accepted (0: none was), and how many such posts."""

    seconds: list[float] = field(default_factory=list)
    accepted_later: int = 0
    refused: int = 0


async def revoke(fleet: FaultyFleet, trials: int, watch_seconds: float) -> Revocations:
    """Revokes keys that all gateways are being posted to with."""
    found = Revocations()
    headers = {"authorization": f"Bearer {fleet.first['management_key']}"}
    async with httpx.AsyncClient(
        base_url=fleet.urls["backend"], headers=headers, trust_env=False, timeout=20.0
    ) as manager:
        for _ in range(trials):
            await revoke_one(fleet, manager, found, watch_seconds)
    return found


async def revoke_one(
    fleet: FaultyFleet, manager: httpx.AsyncClient, found: Revocations, watch_seconds: float
) -> None:
    """Adds one trial: a new key that every gateway accepts, its revocation, and some time after."""
    created = await manager.post("/v1/api-keys", json={"name": "k", "kind": "submission"})
    key = created.raise_for_status().json()
    posts: list[list[tuple[float, int]]] = [[] for _ in fleet.gateways]
    tasks = [
        asyncio.create_task(_post_with(url, key["key"], log))
        for url, log in zip(fleet.gateways, posts, strict=True)
    ]
    while not all(log and log[-1][1] == 200 for log in posts):
        await asyncio.sleep(0.01)
    (await manager.delete(f"/v1/api-keys/{key['id']}")).raise_for_status()
    revoked = asyncio.get_running_loop().time()
    await asyncio.sleep(watch_seconds)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for log in posts:
        accepted = [at for at, status in log if at > revoked and status in (200, 202)]
        found.accepted_later += len(accepted)
        found.refused += sum(at > revoked and status in (401, 403) for at, status in log)
        found.seconds.append(max(accepted, default=revoked) - revoked)


async def _post_with(url: str, key: str, log: list[tuple[float, int]]) -> None:
    connection = Connection(url)
    try:
        while True:
            sent = asyncio.get_running_loop().time()
            answer = await connection.post(
                "/v1/f/demo", {"n": "k"}, {"Authorization": f"Bearer {key}"}
            )
            log.append((sent, answer.status))
            await asyncio.sleep(0.02)
    finally:
        connection.close()


async def _insist(connection: Connection, slug: str, key: str) -> str | None:
    """The id that a post with the key is answered; None if all attempts failed."""
    for _ in range(_RETRIES):
        with suppress(NoAnswer):
            answer = await connection.post(f"/v1/f/{slug}", {"n": "same"}, {"Idempotency-Key": key})
            if answer.status in (200, 202):
                return str(orjson.loads(answer.body)["id"])
        await asyncio.sleep(_RETRY_SECONDS)
    return None


async def _restart(fleet: FaultyFleet, name: str) -> None:
    fleet.kill(name)
    await in_thread_until_ready(fleet, name)
