"""What a cache is asking the backend at this moment: once for each key, whoever waits for it.

Answers overtake each other: while one is on its way, the feed may tell something newer of the same
key. Each question therefore knows which revision its answer must show at least.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Generic, Protocol, TypeVar

from gateway.config.ages import Ages

Key = TypeVar("Key")
Result = TypeVar("Result")


class Answer(Protocol):
    """An answer of the backend; ``revision`` is a lower bound of the state that it shows."""

    @property
    def epoch(self) -> str: ...

    @property
    def revision(self) -> int: ...


class Standing(Enum):
    """What an answer is good for."""

    KEEP = "keep"
    # A restored backend is ahead of its feed, which does not keep the answer current.
    USE_ONCE = "use once"
    OUTDATED = "outdated"


@dataclass(slots=True)
class _Question(Generic[Result]):
    future: asyncio.Future[Result]
    epoch: str
    floor: int


class Questions(Generic[Key, Result]):
    """The questions that are under way, by key."""

    def __init__(self, ages: Ages) -> None:
        self._ages = ages
        self._open: dict[Key, _Question[Result]] = {}

    def __contains__(self, key: Key) -> bool:
        return key in self._open

    def __len__(self) -> int:
        return len(self._open)

    def find(self, key: Key) -> asyncio.Future[Result] | None:
        """The future of the question that is under way, or None."""
        question = self._open.get(key)
        return None if question is None else question.future

    def open(self, key: Key, future: asyncio.Future[Result]) -> asyncio.Future[Result]:
        """Takes note of a question; returns its future."""
        self._open[key] = _Question(future, self._ages.epoch, self._ages.revision)
        # If it fails, those who waited may all have left.
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        return future

    def ask_now(self, keys: Iterable[Key]) -> None:
        """Called when the questions are sent: their answers must show what the feed has told."""
        for key in keys:
            question = self._open[key]
            question.epoch, question.floor = self._ages.epoch, self._ages.revision

    def close(self, keys: Iterable[Key]) -> None:
        """The questions are answered, or have failed."""
        for key in keys:
            self._open.pop(key, None)

    def told(self, key: Key) -> None:
        """The feed has told of the key: an answer must not be older."""
        question = self._open.get(key)
        if question is not None:
            question.floor = self._ages.revision

    def told_all(self) -> None:
        """The feed may have told of any key."""
        for question in self._open.values():
            question.floor = self._ages.revision

    def standing(self, key: Key, answer: Answer) -> Standing:
        """What the answer to the question is good for now."""
        question = self._open[key]
        if answer.epoch == self._ages.epoch:
            return Standing.KEEP if answer.revision >= question.floor else Standing.OUTDATED
        return Standing.USE_ONCE if question.epoch == self._ages.epoch else Standing.OUTDATED
