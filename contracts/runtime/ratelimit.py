"""How often a visitor or a key may call: the rules of a request, and the limiter that admits it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address
from math import ceil
from typing import Protocol

from contracts.runtime.clock import Clock
from contracts.runtime.windows import SlidingWindows

KEYS_MAX = 200_000
_MINUTE = 60
_SECOND = 1
# A site is given a /48 or a /56 and can move about in it: https://adam-p.ca/blog/2022/02/ipv6-rate-limiting/
_IPV6_GROUPS = ((64, 1), (56, 4), (48, 16))


@dataclass(frozen=True, slots=True)
class Rule:
    """At most ``limit`` requests of ``key`` in any ``seconds``.

    What stands before the first slash of the key names a coarser window (see
    ``contracts.runtime.windows``).
    """

    key: str
    limit: int
    seconds: int


@dataclass(slots=True)
class Decision:
    """Whether a request is admitted, in the numbers of its first rule or of the first that refused.

    ``reset_seconds`` is how long no more than ``remaining`` are possible;
    ``retry_after_seconds`` is the same for a refused request and 0 for an admitted one.
    """

    is_admitted: bool
    limit: int
    remaining: int
    reset_seconds: int
    retry_after_seconds: int
    window_seconds: int


class RateLimiter(Protocol):
    """Admits requests. ``decisions_by_source`` counts who decided: ``local``, ``redis``,
    ``fallback`` (Redis is configured, but the local windows decided) or ``cached`` (a refusal known
    to last)."""

    decisions_by_source: dict[str, int]

    @property
    def windows_held(self) -> int:
        """How many windows are in this process's memory."""

    async def admit(self, rules: Sequence[Rule]) -> Decision:
        """Charges every rule, or none if one of them refuses. There must be at least one rule."""

    async def close(self) -> None:
        """Lets go of connections."""


def visitor_rules(scope: str, client: str, limit: int, seconds: int = _MINUTE) -> tuple[Rule, ...]:
    """An anonymous visitor's rules: ``limit`` requests in any ``seconds`` from one client, to one
    form or whatever else ``scope`` names.

    A client is an IPv4 address (also one mapped into IPv6) or an IPv6 /64, whose /56 and /48 get
    four and sixteen times as much. Anything that is not an address counts as one client.
    """
    if ":" not in client:
        return (Rule(f"{scope}/{client}", limit, seconds),)
    return tuple(
        Rule(f"{scope}/{group}", limit * factor, seconds) for group, factor in _ipv6_groups(client)
    )


def key_rules(key_id: str, per_minute: int, burst: int) -> tuple[Rule, ...]:
    """A key's rules: ``per_minute`` requests in any 60 s, ``burst`` in any 1 s."""
    return (Rule(key_id, per_minute, _MINUTE), Rule(key_id, burst, _SECOND))


def create_rate_limiter(url: str | None, clock: Clock, keys_max: int = KEYS_MAX) -> "RateLimiter":
    """The limiter of this process alone, or with ``url`` (``redis://``, ``rediss://``,
    ``valkey://``) one that shares its windows with all others of that server."""
    if url is None:
        return LocalRateLimiter(clock, keys_max)
    # Imported here because it adds 100 ms to the start of a process that has no use for it.
    from contracts.runtime.ratelimit_redis import RedisRateLimiter

    return RedisRateLimiter(url, clock, keys_max)


class LocalRateLimiter:
    """Counts in this process: N processes admit up to N times as much."""

    def __init__(self, clock: Clock, keys_max: int = KEYS_MAX) -> None:
        self.decisions_by_source = {"local": 0, "redis": 0, "fallback": 0, "cached": 0}
        self._clock = clock
        self._windows = SlidingWindows(clock, keys_max)

    @property
    def windows_held(self) -> int:
        """See ``RateLimiter``."""
        return self._windows.keys_held

    async def admit(self, rules: Sequence[Rule]) -> Decision:
        """See ``RateLimiter``; never waits."""
        self.decisions_by_source["local"] += 1
        return self.decide(rules)

    def decide(self, rules: Sequence[Rule]) -> Decision:
        """Tests all rules, then charges all: atomic, because nothing is awaited in between."""
        now = self._clock.monotonic()
        if self._windows.is_full:
            rules = self._placed(rules, now)
        for rule in rules:
            wait = self._windows.test(rule.key, rule.limit, rule.seconds, now)
            if wait > 0.0:
                return refusal(rule, wait)
        return self._charge(rules, now)

    def charge(self, rules: Sequence[Rule]) -> None:
        """Charges all rules, untested, for a request that was admitted elsewhere."""
        now = self._clock.monotonic()
        self._charge(self._placed(rules, now) if self._windows.is_full else rules, now)

    async def close(self) -> None:
        """See ``RateLimiter``."""

    def _charge(self, rules: Sequence[Rule], now: float) -> Decision:
        first = rules[0]
        charge = self._windows.charge
        used, reset = charge(first.key, first.limit, first.seconds, now)
        for rule in rules[1:]:
            charge(rule.key, rule.limit, rule.seconds, now)
        return admission(first, used, reset)

    def _placed(self, rules: Sequence[Rule], now: float) -> tuple[Rule, ...]:
        """The rules, with each key that has no place replaced by the coarser one. Several buckets
        of a visitor that share one coarser window charge it once, under the first one's limit."""
        placed: dict[tuple[str, int], Rule] = {}
        for rule in rules:
            key = self._windows.key_for(rule.key, rule.seconds, now)
            placed.setdefault((key, rule.seconds), Rule(key, rule.limit, rule.seconds))
        return tuple(placed.values())


def admission(rule: Rule, used: int, reset: float) -> Decision:
    """The decision that admits; ``used`` counts this one, ``reset`` is in seconds."""
    return Decision(True, rule.limit, max(0, rule.limit - used), ceil(reset), 0, rule.seconds)


def refusal(rule: Rule, wait: float) -> Decision:
    """The decision that refuses, for ``wait`` seconds."""
    seconds = max(1, ceil(wait))
    return Decision(False, rule.limit, 0, seconds, seconds, rule.seconds)


@lru_cache(maxsize=16_384)
def _ipv6_groups(client: str) -> tuple[tuple[str, int], ...]:
    """The groups of an address, and how many times the limit each gets."""
    try:
        address = IPv6Address(client)
    except ValueError:
        return ((client, 1),)
    if address.ipv4_mapped is not None:
        return ((str(address.ipv4_mapped), 1),)
    number = int(address)
    return tuple((f"{number >> (128 - bits):x}/{bits}", factor) for bits, factor in _IPV6_GROUPS)
