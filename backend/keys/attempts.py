"""How often a client may try something that costs us dearly."""

from collections import OrderedDict, deque
from math import ceil

from contracts.addresses import packed_address
from contracts.problems import Problem, Rejected
from contracts.runtime.clock import Clock

CLIENTS_MAX = 10_000
_IPV6_NETWORK_BYTES = 8


class Attempts:
    """Lets a client have ``limit`` attempts in any ``seconds`` that have not succeeded, or not yet.

    A client is an IPv4 address or an IPv6 /64. The ``CLIENTS_MAX`` that tried last are known.
    """

    def __init__(self, clock: Clock, limit: int, seconds: float, what: str) -> None:
        """``what`` names the attempts in the refusal."""
        self._clock = clock
        self._limit = limit
        self._seconds = seconds
        self._what = what
        self._clients: OrderedDict[bytes, deque[float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._clients)

    def check(self, address: str | None) -> None:
        """Whether the client has attempts left. Raises Rejected(RATE_LIMITED)."""
        attempts = self._attempts_of(address)
        if len(attempts) >= self._limit:
            wait = max(1, ceil(attempts[0] + self._seconds - self._clock.monotonic()))
            raise Rejected(
                Problem.RATE_LIMITED,
                f"Too many {self._what} from this address. Try again in {wait} s.",
                headers={"Retry-After": str(wait)},
                retry_after=wait,
            )

    def begin(self, address: str | None) -> None:
        """Counts an attempt; those of no known address are not counted. Raises
        Rejected(RATE_LIMITED)."""
        self.check(address)
        client = _client_of(address)
        if client is None:
            return
        self._clients.setdefault(client, deque()).append(self._clock.monotonic())
        self._clients.move_to_end(client)
        if len(self._clients) > CLIENTS_MAX:
            self._clients.popitem(last=False)

    def succeed(self, address: str | None) -> None:
        """An attempt has succeeded: it no longer counts."""
        attempts = self._attempts_of(address)
        if attempts:
            attempts.pop()

    def _attempts_of(self, address: str | None) -> deque[float]:
        """When the client's attempts began, those that still count, the oldest first."""
        client = _client_of(address)
        attempts = self._clients.get(client) if client is not None else None
        if attempts is None:
            return deque()
        since = self._clock.monotonic() - self._seconds
        while attempts and attempts[0] <= since:
            attempts.popleft()
        return attempts


def _client_of(address: str | None) -> bytes | None:
    packed = packed_address(address or "")
    return packed and packed[:_IPV6_NETWORK_BYTES]
