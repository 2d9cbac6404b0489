"""Nobody who is let in waits for long, and ordinary bursts meet no bound."""

import asyncio
import heapq
import math
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import internal
from gateway.batching import Batcher, QueueFull
from gateway.waiting_room import WaitingRoom
from tests.support.builders import form_config
from tests.support.gateways import running_gateway
from tests.support.mini_backend import MiniBackend

_BATCH = 256
_SENDERS = 2
_WAITING_MAX = 1_024
_SECONDS_MAX = 0.5
FORM = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}


class Queue:
    """The batcher in virtual time: a batch takes ``batch_seconds``."""

    def __init__(self, batch_seconds: float) -> None:
        self.batch_seconds = batch_seconds
        self.waits: list[float] = []
        self.refused: list[float] = []
        self._room = WaitingRoom(
            senders=_SENDERS,
            waiting_max=_WAITING_MAX,
            seconds_max=_SECONDS_MAX,
        )
        self._waiting: deque[float] = deque()
        self._busy_until: list[float] = []

    def run(self, arrivals: Iterable[float]) -> None:
        """Lets posts arrive at these times, which ascend, and ends when all have left."""
        for now in [*arrivals, math.inf]:
            while self._busy_until and self._busy_until[0] <= now:
                ended = heapq.heappop(self._busy_until)
                self._room.note(self.batch_seconds)
                self._send(ended)
            if now == math.inf:
                return
            if self._room.admits(len(self._waiting), _BATCH):
                self._waiting.append(now)
                self._send(now)
            else:
                self.refused.append(now)

    def _send(self, now: float) -> None:
        while self._waiting and len(self._busy_until) < _SENDERS:
            count = min(len(self._waiting), _BATCH)
            self.waits += [now - self._waiting.popleft() for _ in range(count)]
            heapq.heappush(self._busy_until, now + self.batch_seconds)


def evenly(rate: float, seconds: float, start: float = 0.0) -> list[float]:
    """So many posts a second."""
    return [start + number / rate for number in range(int(rate * seconds))]


@given(batch_seconds=st.floats(0.001, 2.0), load=st.floats(1.2, 8.0))
def test_who_is_let_in_waits_no_longer_than_the_bound_or_for_the_next_round(
    batch_seconds: float, load: float
) -> None:
    queue = Queue(batch_seconds)
    # At first nothing is known of how long a batch takes.
    queue.run(evenly(1.0 / batch_seconds, 3 * batch_seconds))
    queue.waits.clear()
    capacity = _SENDERS * _BATCH / batch_seconds
    start = 10 * batch_seconds
    queue.run(evenly(load * capacity, 6 * batch_seconds, start))
    assert max(queue.waits) <= max(_SECONDS_MAX, batch_seconds) + 1e-9
    assert queue.refused


@given(batch_seconds=st.floats(0.001, 2.0), load=st.floats(0.1, 0.9))
def test_a_load_that_can_be_borne_is_never_refused(batch_seconds: float, load: float) -> None:
    queue = Queue(batch_seconds)
    capacity = _SENDERS * _BATCH / batch_seconds
    queue.run(evenly(load * capacity, 6 * batch_seconds))
    assert queue.refused == []


@given(batch_seconds=st.floats(0.001, 2.0), size=st.integers(1, _SENDERS * _BATCH))
def test_a_burst_of_one_round_is_never_refused(batch_seconds: float, size: int) -> None:
    queue = Queue(batch_seconds)
    bursts = [number * 3 * batch_seconds for number in range(4) for _ in range(size)]
    queue.run(bursts)
    assert queue.refused == []


def test_overload_of_a_slow_store_costs_no_throughput() -> None:
    queue = Queue(1.0)
    queue.run(evenly(4_000.0, 10.0))
    # Every batch but the first two is full.
    assert len(queue.waits) >= 10 * _SENDERS * _BATCH * 0.85


@given(st.lists(st.floats(0.0, 100.0), max_size=5))
def test_the_bound_on_the_number_holds_whatever_batches_take(seconds: list[float]) -> None:
    room = WaitingRoom(senders=_SENDERS, waiting_max=_WAITING_MAX, seconds_max=_SECONDS_MAX)
    for each in seconds:
        room.note(each)
    assert room.admits(_SENDERS * _BATCH - 1, _BATCH)
    assert not room.admits(_WAITING_MAX, _BATCH)
    admitted = [room.admits(waiting, _BATCH) for waiting in range(_WAITING_MAX + 2)]
    assert admitted == sorted(admitted, reverse=True)


@pytest.mark.asyncio
async def test_the_batcher_learns_from_its_batches() -> None:
    async def slow(items: Sequence[int]) -> Sequence[int]:
        await asyncio.sleep(0.02)
        return items

    batcher = Batcher(slow, items_max=2, senders=1, waiting_max=10, wait_seconds_max=0.03)
    await batcher.submit(0)
    taken = [batcher.submit(number) for number in range(2)]
    assert not batcher.has_room
    with pytest.raises(QueueFull):
        batcher.submit(2)
    assert await asyncio.gather(*taken) == [0, 1]
    assert batcher.has_room


@pytest.mark.asyncio
async def test_a_post_that_finds_no_room_is_refused_before_its_body_is_read() -> None:
    backend = MiniBackend(forms={"contact": form_config(rate_limit_per_minute=100_000)})
    url, fields = "/v1/f/contact", {"email": "ada@example.com"}
    async with running_gateway(backend) as gateway:
        assert (await gateway.post(url, data=fields)).status_code == 200
        backend.commit_gate, calls = asyncio.Event(), backend.calls[internal.SUBMISSIONS]

        def post(count: int) -> list[asyncio.Task[httpx.Response]]:
            return [asyncio.create_task(gateway.post(url, data=fields)) for _ in range(count)]

        posts = post(_SENDERS * _BATCH)
        while backend.calls[internal.SUBMISSIONS] < calls + _SENDERS:
            await asyncio.sleep(0)
        posts += post(_WAITING_MAX + 1)
        await asyncio.wait(posts, return_when=asyncio.FIRST_COMPLETED)
        late = await gateway.post(url, content=unread(), headers=FORM)
        assert late.status_code == 503
        assert late.json()["type"].endswith("/unavailable")
        assert 3 <= int(late.headers["retry-after"]) <= 8
        backend.commit_gate.set()
        statuses = [answer.status_code for answer in await asyncio.gather(*posts)]
        assert statuses.count(200) >= _WAITING_MAX
        assert set(statuses) == {200, 503}
        assert (await gateway.post(url, data=fields)).status_code == 200


async def unread() -> AsyncIterator[bytes]:
    """A body that fails the test if it is read."""
    raise AssertionError("the body was read")
    yield b""
