"""Visitors who come at an even rate, whatever becomes of those before them."""

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson

from tests.faults.wire import Answer, Connection, NoAnswer


@dataclass(frozen=True, slots=True)
class Sample:
    """One post: when it was due (monotonic), how long it took from then on, and its status, 0
    without an answer; ``submission_id`` if it was acknowledged, the ``refusal`` if it was refused.
    """

    at: float
    seconds: float
    status: int
    marker: str
    submission_id: str | None
    refusal: Answer | None = None

    @property
    def is_invited_back(self) -> bool:
        """Whether it was refused as it is to be while it is not this visitor's fault."""
        if self.refusal is None or self.status != 503:
            return False
        is_problem = self.refusal.headers.get("content-type") == "application/problem+json"
        return is_problem and int(self.refusal.headers.get("retry-after", "0")) > 0


@dataclass
class PacedVisitors:
    """Posts at ``rate`` a second, by turns to each URL, until cancelled."""

    urls: Sequence[str]
    rate: float
    slug: str = "demo"
    headers: dict[str, str] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    _idle: dict[str, list[Connection]] = field(default_factory=dict)

    async def run(self) -> None:
        """Posts until cancelled; then waits for the answers that are due."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        under_way: set[asyncio.Task[None]] = set()
        try:
            for number in itertools.count():
                due = started + number / self.rate
                await asyncio.sleep(max(0.0, due - loop.time()))
                task = asyncio.create_task(self._post(number, due))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
        finally:
            await asyncio.gather(*under_way)
            for connection in itertools.chain.from_iterable(self._idle.values()):
                connection.close()

    async def _post(self, number: int, due: float) -> None:
        url = self.urls[number % len(self.urls)]
        idle = self._idle.setdefault(url, [])
        connection = idle.pop() if idle else Connection(url)
        marker = f"paced.{number}"
        status, submission_id, refusal = 0, None, None
        try:
            answer = await connection.post(f"/v1/f/{self.slug}", {"n": marker}, self.headers)
            status = answer.status
            if status in (200, 202):
                submission_id = orjson.loads(answer.body)["id"]
            else:
                refusal = answer
            idle.append(connection)
        except NoAnswer:
            connection.close()
        took = asyncio.get_running_loop().time() - due
        self.samples.append(Sample(due, took, status, marker, submission_id, refusal))

    @property
    def acknowledged(self) -> list[Sample]:
        """The posts that were acknowledged."""
        return [sample for sample in self.samples if sample.submission_id is not None]

    def between(self, start: float, end: float) -> list[Sample]:
        """The posts that were due in that time."""
        return [sample for sample in self.samples if start <= sample.at < end]


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that so large a share does not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def p99_ms(samples: Sequence[Sample]) -> float:
    """The 99th percentile of the times of posts, in milliseconds."""
    return round(percentile([sample.seconds for sample in samples], 0.99) * 1000, 1)
