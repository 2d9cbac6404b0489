"""A core of its own for whatever makes the load, where the machine has enough of them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

_CORES_MIN = 4


def generators_core() -> int | None:
    """The core that the generators keep to; None if there are too few to set one aside."""
    count = os.cpu_count() or 1
    return count - 1 if count >= _CORES_MIN else None


def leave_the_generators_core() -> None:
    """Keeps this thread, and what it starts from now on, off the generators' core."""
    core = generators_core()
    if core is not None and len(os.sched_getaffinity(0)) > 1:
        os.sched_setaffinity(0, os.sched_getaffinity(0) - {core})


@contextmanager
def on_the_generators_core() -> Iterator[None]:
    """What this thread starts within the block runs on the generators' core."""
    core = generators_core()
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
