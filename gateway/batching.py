"""Natural batches: what arrives while a batch is under way makes the next.

No timer and no size to tune: a lone item leaves at once, and load alone makes batches.
"""

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from gateway.batch_size import BatchSize
from gateway.waiting_room import WaitingRoom

Item = TypeVar("Item")
Result = TypeVar("Result")


class QueueFull(Exception):
    """There is no room for one more to wait."""


class Batcher(Generic[Item, Result]):
    """Gathers items into calls of ``send``, which returns one result for each, in order.

    At most ``senders`` calls are under way at once. If a call raises, each item of that batch
    raises the same. An item whose submitter is cancelled is still sent.
    """

    def __init__(
        self,
        send: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
        *,
        items_max: int,
        senders: int = 2,
        waiting_max: int = 10_000,
        wait_seconds_max: float = math.inf,
        deadline_seconds: float = math.inf,
    ) -> None:
        """At most ``waiting_max`` wait, and no longer than about ``wait_seconds_max`` each. After
        a call that failed because it took ``deadline_seconds`` the next ones have fewer items."""
        self._send = send
        self._size = BatchSize(items_max, deadline_seconds)
        self._senders_max = senders
        self._room = WaitingRoom(
            senders=senders,
            waiting_max=waiting_max,
            seconds_max=wait_seconds_max,
        )
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._at_work = 0
        self._senders: set[asyncio.Task[None]] = set()

    @property
    def has_room(self) -> bool:
        """Whether ``submit`` would take one more item."""
        return self._room.admits(len(self._waiting), self._size.items)

    def submit(self, item: Item) -> asyncio.Future[Result]:
        """Queues the item; the future resolves with its result. Raises QueueFull."""
        if not self.has_room:
            raise QueueFull
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._at_work < self._senders_max:
            self._at_work += 1
            sender = asyncio.create_task(self._send_waiting())
            self._senders.add(sender)
            sender.add_done_callback(self._senders.discard)
        return future

    async def drained(self) -> None:
        """Returns when nothing is waiting or under way."""
        while self._senders:
            await asyncio.wait(self._senders)

    async def _send_waiting(self) -> None:
        try:
            await self._send_batches()
        finally:
            # Not left to the callback: what is submitted before that runs would have no sender.
            self._at_work -= 1

    async def _send_batches(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            count = min(len(self._waiting), self._size.items)
            batch = [self._waiting.popleft() for _ in range(count)]
            started = loop.time()
            try:
                results = await self._send([item for item, _ in batch])
                if len(results) != len(batch):
                    raise ValueError(f"{len(results)} results for {len(batch)} items")
            except Exception as error:
                self._size.note_failure(loop.time() - started, count)
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            finally:
                self._room.note(loop.time() - started)
            self._size.note_success(loop.time() - started)
            for (_, future), result in zip(batch, results, strict=True):
                if not future.done():
                    future.set_result(result)
