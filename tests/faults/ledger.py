"""Visitors who write down what they were told: the ledger that a database is held against."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson

from tests.faults.wire import Connection, NoAnswer

_REPEAT_SHARE = 0.1
_KEYED_SHARE = 0.6
_TRIES = 4
_RETRY_SECONDS = 0.05


@dataclass(slots=True)
class Entry:
    """One post of a visitor: its marker is in the payload, ``ids`` are the acknowledged ones."""

    marker: str
    slug: str
    key: str | None
    ids: list[str] = field(default_factory=list)
    queued: int = 0


@dataclass(slots=True)
class Ledger:
    """What all visitors sent and were told."""

    entries: list[Entry] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    no_answers: int = 0
    repeats: int = 0
    seconds: list[float] = field(default_factory=list)

    @property
    def acknowledged(self) -> list[Entry]:
        """The posts with an acknowledgement."""
        return [entry for entry in self.entries if entry.ids]


class Visitor:
    """Posts one thing after the other, through any gateway, until cancelled.

    A post with a key is sent again, with the same key and through another gateway, when it was not
    answered, and sometimes when it was. One without a key is sent once: who repeats it means two.
    """

    def __init__(
        self,
        ledger: Ledger,
        gateways: Sequence[str],
        slugs: Sequence[str],
        seed: str,
        pause_seconds: float,
    ) -> None:
        self._ledger = ledger
        self._slugs = slugs
        self._seed = seed
        self._chance = random.Random(seed)
        self._connections = [Connection(url) for url in gateways]
        self._pause_seconds = pause_seconds

    async def run(self) -> None:
        """Posts until cancelled."""
        try:
            for number in range(1_000_000_000):
                await self._post(f"{self._seed}.{number}")
                await asyncio.sleep(self._pause_seconds * self._chance.uniform(0.5, 1.5))
        finally:
            for connection in self._connections:
                connection.close()

    async def _post(self, marker: str) -> None:
        key = f"key-{marker}" if self._chance.random() < _KEYED_SHARE else None
        entry = Entry(marker, self._chance.choice(self._slugs), key)
        self._ledger.entries.append(entry)
        way = self._chance.randrange(len(self._connections))
        is_answered = await self._send(entry, way)
        if key is None:
            return
        for _ in range(_TRIES):
            if is_answered and self._chance.random() >= _REPEAT_SHARE:
                return
            self._ledger.repeats += 1
            way = (way + 1) % len(self._connections)
            is_answered = await self._send(entry, way)

    async def _send(self, entry: Entry, way: int) -> bool:
        """Whether the answer was final; after one that was not, waits a moment."""
        headers = {} if entry.key is None else {"Idempotency-Key": entry.key}
        started = asyncio.get_running_loop().time()
        try:
            answer = await self._connections[way].post(
                f"/v1/f/{entry.slug}", {"n": entry.marker}, headers
            )
        except NoAnswer:
            self._ledger.no_answers += 1
            await asyncio.sleep(_RETRY_SECONDS)
            return False
        self._ledger.seconds.append(asyncio.get_running_loop().time() - started)
        self._ledger.statuses[answer.status] += 1
        if answer.status in (200, 202):
            entry.ids.append(orjson.loads(answer.body)["id"])
            entry.queued += answer.status == 202
            return True
        if answer.status == 503:
            await asyncio.sleep(_RETRY_SECONDS)
        return answer.status != 503


@dataclass(frozen=True, slots=True)
class Crowd:
    """How many visitors there are, where they go, and how long each rests between posts."""

    gateways: Sequence[str]
    slugs: Sequence[str] = ("demo",)
    visitors: int = 8
    pause_seconds: float = 0.03

    def start(self, ledger: Ledger, seed: str) -> list[asyncio.Task[None]]:
        """Visitors that write into the ledger, until ``stop``."""
        return [
            asyncio.create_task(
                Visitor(
                    ledger, self.gateways, self.slugs, f"{seed}.{number}", self.pause_seconds
                ).run()
            )
            for number in range(self.visitors)
        ]


async def stop(visitors: Sequence[asyncio.Task[None]]) -> None:
    """Ends visitors; what was under way counts as not answered. Raises what one of them raised."""
    for visitor in visitors:
        visitor.cancel()
    for result in await asyncio.gather(*visitors, return_exceptions=True):
        if isinstance(result, Exception):
            raise result
