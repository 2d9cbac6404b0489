"""Batches are as large as the backend can take within their deadline."""

import asyncio
from collections.abc import Sequence

import pytest

from gateway.batch_size import BatchSize
from gateway.batching import Batcher

_ITEMS_MAX = 256
_SENDERS = 2
_DEADLINE_SECONDS = 2.0


def stored_share(rounds: int, *, way_seconds: float, items_per_second: float) -> float:
    """The share that is stored of what a backend could store, in rounds of full batches of every
    sender, over a way that takes so long."""
    size, stored, lasted = BatchSize(_ITEMS_MAX, _DEADLINE_SECONDS), 0, 0.0
    for _ in range(rounds):
        items = size.items
        seconds = way_seconds + _SENDERS * items / items_per_second
        lasted += min(seconds, _DEADLINE_SECONDS)
        if seconds < _DEADLINE_SECONDS:
            stored += _SENDERS * items
            size.note_success(seconds)
        else:
            size.note_failure(_DEADLINE_SECONDS, items)
    return stored / (lasted * items_per_second)


@pytest.mark.parametrize("items_per_second", [30.0, 60.0, 100.0, 200.0, 300.0, 1_000.0])
def test_a_slow_backend_stores_about_what_it_can(items_per_second: float) -> None:
    assert stored_share(300, way_seconds=0.002, items_per_second=items_per_second) > 0.8


def test_a_long_way_does_not_keep_batches_tiny() -> None:
    size = BatchSize(_ITEMS_MAX, _DEADLINE_SECONDS)
    for _ in range(10):
        size.note_failure(_DEADLINE_SECONDS, size.items)
    assert size.items == 8
    for _ in range(31):
        size.note_success(1.8)
    assert size.items == 64


def test_what_fails_at_once_says_nothing_of_the_size() -> None:
    size = BatchSize(_ITEMS_MAX, _DEADLINE_SECONDS)
    size.note_failure(0.1, _ITEMS_MAX)
    assert size.items == _ITEMS_MAX
    # Of two that were under way with the same size the second says nothing more.
    size.note_failure(_DEADLINE_SECONDS, _ITEMS_MAX)
    size.note_failure(_DEADLINE_SECONDS, _ITEMS_MAX)
    assert size.items == _ITEMS_MAX // 4
    size.note_success(0.01)
    size.note_success(0.01)
    assert size.items == _ITEMS_MAX


@pytest.mark.asyncio
async def test_after_a_batch_that_took_too_long_the_next_is_smaller() -> None:
    sizes = []

    async def send(items: Sequence[int]) -> Sequence[int]:
        sizes.append(len(items))
        if len(items) > 8:
            await asyncio.sleep(0.02)
            raise TimeoutError
        return items

    batcher = Batcher(send, items_max=16, senders=1, deadline_seconds=0.01)
    results = await asyncio.gather(
        *(batcher.submit(number) for number in range(32)), return_exceptions=True
    )
    assert sizes == [16, 8, 8]
    assert all(isinstance(result, TimeoutError) for result in results[:16])
    assert results[16:] == list(range(16, 32))
