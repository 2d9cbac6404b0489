"""Natural batching: a lone item leaves at once, load makes batches, and nothing is lost."""

import asyncio
from collections.abc import Sequence

import pytest

from gateway.batching import Batcher, QueueFull

pytestmark = pytest.mark.asyncio


class Sink:
    """Doubles each item; keeps the batches; waits at its gate."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()

    async def send(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        await self.gate.wait()
        if 13 in items:
            raise ValueError("unlucky")
        return [item * 2 for item in items]


async def until_sent(sink: Sink, batches: int) -> None:
    while len(sink.batches) < batches:
        await asyncio.sleep(0)


async def test_a_lone_item_leaves_at_once() -> None:
    sink = Sink()
    sink.gate.set()
    assert await Batcher(sink.send, items_max=10).submit(21) == 42


async def test_what_arrives_meanwhile_makes_the_next_batch() -> None:
    sink = Sink()
    batcher = Batcher(sink.send, items_max=4, senders=1)
    first = batcher.submit(0)
    await until_sent(sink, 1)
    rest = [batcher.submit(n) for n in range(1, 7)]
    sink.gate.set()
    assert await asyncio.gather(first, *rest) == [n * 2 for n in range(7)]
    assert sink.batches == [[0], [1, 2, 3, 4], [5, 6]]


async def test_a_failed_batch_fails_its_own_items_only() -> None:
    sink = Sink()
    sink.gate.set()
    batcher = Batcher(sink.send, items_max=1, senders=1)
    results = await asyncio.gather(*(batcher.submit(n) for n in (1, 13, 3)), return_exceptions=True)
    assert [results[0], results[2]] == [2, 6]
    assert isinstance(results[1], ValueError)


async def test_a_submitter_that_gives_up_neither_stops_its_item_nor_harms_others() -> None:
    sink = Sink()
    batcher = Batcher(sink.send, items_max=10, senders=1)
    given_up, kept = batcher.submit(1), batcher.submit(2)
    await until_sent(sink, 1)
    given_up.cancel()
    sink.gate.set()
    assert await kept == 4
    assert sink.batches == [[1, 2]]


async def test_a_full_queue_refuses_at_once() -> None:
    sink = Sink()
    batcher = Batcher(sink.send, items_max=1, senders=1, waiting_max=2)
    futures = [batcher.submit(1), batcher.submit(2)]
    with pytest.raises(QueueFull):
        batcher.submit(3)
    sink.gate.set()
    await asyncio.gather(*futures)


async def test_drained_returns_when_all_is_sent() -> None:
    sink = Sink()
    sink.gate.set()
    batcher = Batcher(sink.send, items_max=1)
    futures = [batcher.submit(n) for n in range(5)]
    await batcher.drained()
    assert all(future.done() for future in futures)


async def test_an_item_submitted_as_a_batch_ends_is_sent() -> None:
    sink = Sink()
    sink.gate.set()
    batcher = Batcher(sink.send, items_max=10, senders=1)
    async with asyncio.timeout(5):
        assert [await batcher.submit(number) for number in range(5)] == [0, 2, 4, 6, 8]
