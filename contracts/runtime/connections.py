"""The bounds of a server's connections, who is connected, and the one timer that watches them."""

import asyncio
import resource
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from uvicorn.protocols.http.flow_control import FlowControl

from contracts.addresses import packed_address
from contracts.runtime.turns import AT_ONCE

# So many connections over a ceiling are held for a moment so that they can read why.
_REFUSED_AT_ONCE = 64
_IPV6_SITE_BYTES = 8


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What a client may do to a connection. Times are seconds, sizes bytes.

    The times are judged once every ``sweep_seconds`` and may end that much late. A count of 0
    turns a ceiling off: ``per_address`` must be 0 where all clients come through a proxy.
    """

    header_seconds: float = 10.0
    body_grace_seconds: float = 10.0
    body_bytes_per_second: float = 1024.0
    write_seconds: float = 30.0
    headers: int = 100
    header_bytes: int = 32_768
    # What chunked framing may weigh beside the content it frames, over and above four times that.
    chunk_overhead_bytes: int = 16_384
    # How much body is read and thrown away after an answer that keeps the connection.
    unread_bytes: int = 4_194_304
    linger_seconds: float = 2.0
    linger_bytes: int = 262_144
    connections: int = 10_000
    per_address: int = 512
    # Requests that are worked on at once; the others wait for their turn.
    at_once: int = AT_ONCE
    reserved_descriptors: int = 200
    sweep_seconds: float = 1.0

    def ceiling(self) -> int:
        """The connections that are served at once: no more than there are descriptors for."""
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft == resource.RLIM_INFINITY:
            return self.connections
        return min(self.connections, max(soft - self.reserved_descriptors, soft // 2))


class Watched(Protocol):
    """A connection, as the watch sees it."""

    client: tuple[str, int] | None

    def check(self, now: float, tick: float) -> None:
        """Judges the connection at ``now``, ``tick`` seconds after the last time."""


class Watch:
    """Every connection of one server: counts them, and checks each at every tick."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self._limits = limits
        self._ceiling = limits.ceiling()
        self._members: dict[Watched, bytes | None] = {}
        self._refused: set[Watched] = set()
        self._addresses: Counter[bytes] = Counter()
        self._checked_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_crowded(self) -> bool:
        """Whether even the refused are too many to be dealt with gently."""
        return len(self._refused) > _REFUSED_AT_ONCE

    def admit(self, member: Watched, loop: asyncio.AbstractEventLoop) -> bool:
        """Watches it from now on; False if it is over a ceiling and must go."""
        address = address_key(member.client[0]) if member.client else None
        is_admitted = len(self._members) - len(self._refused) < self._ceiling
        if address is not None and self._limits.per_address:
            is_admitted = is_admitted and self._addresses[address] < self._limits.per_address
        if is_admitted and address is not None:
            self._addresses[address] += 1
        if not is_admitted:
            self._refused.add(member)
        self._members[member] = address
        if self._timer is None:
            self._checked_at = loop.time()
            self._timer = loop.call_later(self._limits.sweep_seconds, self._sweep, loop)
        return is_admitted

    def forget(self, member: Watched) -> None:
        """The connection is gone."""
        address = self._members.pop(member, None)
        if member in self._refused:
            self._refused.remove(member)
        elif address is not None:
            self._addresses[address] -= 1
            if not self._addresses[address]:
                del self._addresses[address]

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if not self._members:
            return
        now = loop.time()
        tick = now - self._checked_at
        self._checked_at = now
        self._timer = loop.call_later(self._limits.sweep_seconds, self._sweep, loop)
        for member in tuple(self._members):
            member.check(now, tick)


class HeldFlow(FlowControl):
    """Flow control whose reading can be held back against the app's wish to read."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__(transport)
        self._is_held = False

    def hold(self) -> None:
        """No more is read until ``release``."""
        self._is_held = True
        self.pause_reading()

    def release(self) -> None:
        """Reading goes on."""
        self._is_held = False
        self.resume_reading()

    def resume_reading(self) -> None:
        if self.read_paused and not self._is_held:
            super().resume_reading()


class AnswerTransport:
    """The transport as uvicorn sees it: what it writes goes straight out, closing is ours."""

    __slots__ = ("close", "is_closing", "write")

    def __init__(self, wire: asyncio.Transport, close: Callable[[], None]) -> None:
        self.write: Callable[[Any], None] = wire.write
        self.close = close
        self.is_closing: Callable[[], bool] = wire.is_closing

    def detach(self, wire: asyncio.Transport) -> None:
        """Lets go of the protocol, so that a lost connection's memory is free at once."""
        self.close = wire.close
        self.is_closing = wire.is_closing


def address_key(host: str) -> bytes | None:
    """Whom an address counts for: an IPv4 address, an IPv6 /64; None if it is neither."""
    packed = packed_address(host)
    return packed[:_IPV6_SITE_BYTES] if packed is not None else None
