"""The loops that post: closed (a free connection posts at once) and open (posts come when due).

They do next to nothing for a post, since whatever they use the product may lack: one template is
filled in, and of an answer only the status and the length are read.
"""

import asyncio
import signal
from array import array
from collections import Counter, deque
from dataclasses import replace
from functools import partial
from time import perf_counter, process_time
from typing import cast
from urllib.parse import urlsplit

from loadtests.generator import GRACE_SECONDS, Plan
from loadtests.load import Load
from loadtests.messages import UnreadableMessage, message_length

_REFUSED = 400
_TICK_SECONDS_MIN = 0.0005


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one post under way, which was due at ``due``."""

    __slots__ = ("_answer", "_loop", "_transport", "due", "is_busy")

    def __init__(self, loop: "ClosedLoop") -> None:
        self._loop = loop
        self._answer = b""
        self.due = 0.0
        self.is_busy = False

    def post(self, request: bytes, due: float) -> None:
        """Sends a request."""
        self.due = due
        self.is_busy = True
        self._transport.write(request)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's."""
        # Not asked by isinstance: uvloop's transports are none of asyncio's classes.
        self._transport = cast(asyncio.Transport, transport)
        self._loop.on_free(self)

    def data_received(self, data: bytes) -> None:
        """asyncio's."""
        if self._answer:
            data = self._answer + data
        try:
            length = message_length(data)
        except UnreadableMessage:
            self._transport.abort()
            return
        if not 0 < length <= len(data):
            self._answer = data
            return
        self._answer = b""
        self.is_busy = False
        self._loop.on_answer(self, int(data[9:12]))

    def connection_lost(self, error: Exception | None) -> None:
        """asyncio's."""
        self._loop.on_lost(self)


class ClosedLoop:
    """Posts over a fixed number of connections."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.started = 0.0
        self.free: list[Connection] = []
        self.connections = 0
        self._origins = [urlsplit(origin) for origin in plan.origins]
        self._accepted_ms, self._refused_ms = array("d"), array("d")
        self._statuses: Counter[int] = Counter()
        self._in_time = self._accepted_in_time = 0
        self._sent = self._under_way = self._broken = 0
        self._connecting: set[asyncio.Task[None]] = set()
        self._ended, self._settled = asyncio.Event(), asyncio.Event()

    async def run(self) -> Load:
        """Connects, posts until the end, and waits for what is under way then."""
        for _ in range(self.plan.connections):
            self.connect()
        await asyncio.gather(*self._connecting)
        self.started, cpu = perf_counter(), process_time()
        asyncio.get_running_loop().call_later(self.plan.seconds, self._ended.set)
        self.begin()
        await self._ended.wait()
        seconds = perf_counter() - self.started
        self.end()
        if self._under_way:
            await self._wait_for_the_rest()
        return self.seen(seconds, process_time() - cpu)

    def begin(self) -> None:
        """The first post of each connection."""
        for connection in self.free:
            self.post(connection, perf_counter())

    def end(self) -> None:
        """Nothing is sent from now on."""

    def connect(self) -> None:
        """Opens one more connection, to the origins in turn."""
        origin = self._origins[self.connections % len(self._origins)]
        self.connections += 1
        task = asyncio.create_task(self._connect(origin.hostname or "", origin.port or 80))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    def post(self, connection: Connection, due: float) -> None:
        """Sends the next post."""
        connection.post(self.plan.requests.fill(self._sent), due)
        self._under_way += 1
        self._sent += 1
        if self._sent == self.plan.posts:
            self._ended.set()

    def on_free(self, connection: Connection) -> None:
        """The connection can take a post."""
        if not self.started:
            self.free.append(connection)
        elif not self._ended.is_set():
            self.post(connection, perf_counter())

    def on_answer(self, connection: Connection, status: int) -> None:
        """An answer is complete."""
        self._statuses[status] += 1
        is_accepted = status < _REFUSED
        latencies = self._accepted_ms if is_accepted else self._refused_ms
        latencies.append((perf_counter() - connection.due) * 1000)
        if not self._ended.is_set():
            self._in_time += 1
            self._accepted_in_time += is_accepted
        self._settle()
        self.on_free(connection)

    def on_lost(self, connection: Connection) -> None:
        """The connection is closed; another one takes its place until the end."""
        self.connections -= 1
        if connection in self.free:
            self.free.remove(connection)
        if connection.is_busy:
            self._broken += 1
            self._settle()
        if not self._ended.is_set():
            self.connect()

    def seen(self, seconds: float, cpu_seconds: float) -> Load:
        """What came of it all. Where everything was refused, the latencies are the refusals'."""
        latencies = self._accepted_ms or self._refused_ms
        return Load(
            seconds=seconds,
            accepted=len(self._accepted_ms),
            refused=len(self._refused_ms),
            in_time=self._in_time,
            accepted_in_time=self._accepted_in_time,
            p50_ms=percentile(latencies, 0.50),
            p99_ms=percentile(latencies, 0.99),
            cpu_seconds=cpu_seconds,
            broken=self._broken,
            may_be_stored=self._broken,
            refused_p99_ms=percentile(self._refused_ms, 0.99),
            statuses={str(status): count for status, count in self._statuses.items()},
        )

    async def _connect(self, host: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(partial(Connection, self), host, port)
        except OSError:
            self.connections -= 1
            self._broken += 1

    async def _wait_for_the_rest(self) -> None:
        try:
            await asyncio.wait_for(self._settled.wait(), GRACE_SECONDS)
        except TimeoutError:
            self._broken += self._under_way

    def _settle(self) -> None:
        self._under_way -= 1
        if not self._under_way and self._ended.is_set():
            self._settled.set()


class OpenLoop(ClosedLoop):
    """Posts are due at even intervals. One that finds no free connection opens another, and is
    not sent at all when there are as many as there may be: nobody waits in the generator."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self._waiting: deque[float] = deque()
        self._late_ms = array("d")
        self._due = self._unsent = 0

    def begin(self) -> None:
        """Starts the clock."""
        tick = max(1.0 / self.plan.rate, _TICK_SECONDS_MIN)
        # Not a timer of the loop: libuv's are whole milliseconds, as long as a post takes.
        asyncio.get_running_loop().add_signal_handler(signal.SIGALRM, self._tick)
        signal.setitimer(signal.ITIMER_REAL, tick, tick)

    def end(self) -> None:
        """Stops the clock."""
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        self._unsent += len(self._waiting)
        self._waiting.clear()

    def on_free(self, connection: Connection) -> None:
        """The connection takes a post that waits for it to open, or stands by."""
        if self._waiting:
            self.post(connection, self._waiting.popleft())
        else:
            self.free.append(connection)

    def seen(self, seconds: float, cpu_seconds: float) -> Load:
        """What came of it all."""
        load = super().seen(seconds, cpu_seconds)
        return replace(load, unsent=self._unsent, late_p99_ms=percentile(self._late_ms, 0.99))

    def _tick(self) -> None:
        now = perf_counter()
        # A tick may be under way when the clock is stopped.
        while (
            not self._ended.is_set() and (due := self.started + self._due / self.plan.rate) <= now
        ):
            self._due += 1
            self._late_ms.append((now - due) * 1000)
            self._arrive(due)

    def _arrive(self, due: float) -> None:
        if self.free:
            self.post(self.free.pop(), due)
        elif self.connections < self.plan.connections_max:
            self._waiting.append(due)
            self.connect()
        else:
            self._unsent += 1


def percentile(values: "array[float]", share: float) -> float:
    """The value that ``share`` of all values do not exceed; 0 if there are none."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else 0.0
