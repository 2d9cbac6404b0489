"""Submissions on their way into a form, so many in a request."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import orjson

T = TypeVar("T")
_ROWS = 500
# Well below what the API takes in a request.
_BYTES = 512 * 1024


def batches(items: Iterable[T], length: Callable[[T], int]) -> Iterator[list[T]]:
    """The items in their order, as many at a time as a request takes; ``length`` is how many bytes
    of it one needs."""
    batch: list[T] = []
    size = 0
    for item in items:
        more = length(item)
        if batch and (len(batch) == _ROWS or size + more > _BYTES):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += more
    if batch:
        yield batch


def length_of(submission: dict[str, Any]) -> int:
    """The bytes that a submission needs."""
    return len(orjson.dumps(submission))
