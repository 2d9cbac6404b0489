"""A proxy between gateways and a backend that counts requests, and delays or loses them."""

import asyncio
import math
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from contracts import internal

_HEAD_END = b"\r\n\r\n"
_SEED = 20261121


@dataclass(frozen=True, slots=True)
class Request:
    """One request that came through: when (monotonic), where to, the submissions in it, how many
    requests of batches were under way then, with it, and how many of the submissions had been
    acknowledged before."""

    at: float
    path: str
    items: int
    under_way: int
    promised: int


@dataclass
class FaultyProxy:
    """Relays to ``backend`` (host and port). Assign to its switches at any time."""

    backend: tuple[str, int]
    swallows_answers: int = 0
    """So many batches are passed on, and their answers thrown away with the connection."""
    closes_idle: int = 0
    """So many connections are closed as their next request comes in."""
    refuses: frozenset[str] = frozenset()
    """Paths whose connections are closed unanswered."""
    delay_seconds: float = 0.0
    """How long every request is on its way to the backend."""
    drop_share: float = 0.0
    """The share of requests whose connection breaks: half of them before the backend has seen any
    of it, the others before its answer is through."""
    submissions_per_second: float = math.inf
    """What the backend takes: batches are let through one after the other, no faster than that."""
    requests: list[Request] = field(default_factory=list)
    url: str = ""
    _under_way: int = 0
    _chance: random.Random = field(default_factory=lambda: random.Random(_SEED))
    _free_at: float = 0.0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One gateway's connection."""
        upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        try:
            upstream = await asyncio.open_connection(*self.backend)
            is_first = True
            while await self._relay((reader, writer), upstream, is_first=is_first):
                is_first = False
        except (OSError, EOFError, ValueError):
            return
        finally:
            for _, each in filter(None, ((reader, writer), upstream)):
                each.close()

    async def _relay(
        self,
        gateway: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        *,
        is_first: bool,
    ) -> bool:
        """One request and its answer; whether the connection goes on."""
        message, path, body = await _read_request(gateway[0])
        if self.closes_idle and not is_first:
            self.closes_idle -= 1
            return False
        if any(path.startswith(refused) for refused in self.refuses):
            return False
        is_batch = path == internal.SUBMISSIONS
        is_lost_before, is_lost_behind = self._losses(is_batch=is_batch)
        self._under_way += is_batch
        try:
            batch = internal.decode_batch(body) if is_batch else ()
            promised = sum(item.is_promised for item in batch)
            at = asyncio.get_running_loop().time()
            self.requests.append(Request(at, path, len(batch), self._under_way, promised))
            await self._hold_up(len(batch))
            if is_lost_before:
                return False
            upstream[1].write(message)
            answer = await _read_while_wanted(upstream[0], gateway[0])
        finally:
            self._under_way -= is_batch
        if is_lost_behind:
            return False
        gateway[1].write(answer)
        await gateway[1].drain()
        return True

    def _losses(self, *, is_batch: bool) -> tuple[bool, bool]:
        """Whether a request is lost, and whether its answer is."""
        if is_batch and self.swallows_answers:
            self.swallows_answers -= 1
            return False, True
        chance = self._chance.random()
        return chance < self.drop_share / 2, self.drop_share / 2 <= chance < self.drop_share

    async def _hold_up(self, items: int) -> None:
        """Returns when a request with so many submissions would have come through."""
        await asyncio.sleep(self.delay_seconds)
        now = asyncio.get_running_loop().time()
        self._free_at = max(now, self._free_at) + items / self.submissions_per_second
        if items:
            await asyncio.sleep(self._free_at - now)


@asynccontextmanager
async def faulty_proxy(backend_url: str) -> AsyncIterator[FaultyProxy]:
    """A proxy in front of a backend."""
    host, _, port = backend_url.removeprefix("http://").rpartition(":")
    proxy = FaultyProxy((host, int(port)))
    connections: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(proxy.serve(reader, writer))
        connections.add(task)
        task.add_done_callback(connections.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        for task in list(connections):
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*connections, return_exceptions=True)


async def _read_request(reader: asyncio.StreamReader) -> tuple[bytes, str, bytes]:
    """The next request whole, its path and its body. Raises OSError, EOFError."""
    head = await reader.readuntil(_HEAD_END)
    length = _length_of(head)
    body = await reader.readexactly(length)
    return head + body, head.split(b" ", 2)[1].decode("latin-1"), body


async def _read_while_wanted(
    upstream: asyncio.StreamReader, gateway: asyncio.StreamReader
) -> bytes:
    """The answer as it is. Raises OSError, EOFError; also if the gateway no longer waits for it."""
    answer = asyncio.create_task(_read_raw_answer(upstream))
    end = asyncio.create_task(gateway.read(1))
    try:
        await asyncio.wait((answer, end), return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise EOFError
        return answer.result()
    finally:
        for task in (answer, end):
            task.cancel()
        await asyncio.wait((answer, end))


async def _read_raw_answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(_HEAD_END)
    return head + await reader.readexactly(_length_of(head))


def _length_of(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0
