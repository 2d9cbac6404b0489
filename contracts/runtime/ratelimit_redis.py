"""One sliding window for the whole fleet, in Redis or Valkey, with this process's as the fallback.

Use a server with ``maxmemory-policy noeviction``: a full one must say so, not forget windows.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import ReadOnlyError, RedisError, ResponseError

from contracts.runtime.clock import Clock
from contracts.runtime.ratelimit import (
    KEYS_MAX,
    Decision,
    LocalRateLimiter,
    Rule,
    admission,
    refusal,
)
from contracts.runtime.telemetry import get_logger
from contracts.runtime.windows import coarser_key

# The layout of the keys, strategy and version: another one needs another name, or both break.
_NAMESPACE = "ff:rl:mw1"
CALL_SECONDS = 0.05
_CONNECTIONS_MAX = 32
_DENIALS_MAX = 10_000
# Each key holds the times of its live hits in microseconds of the server's clock, oldest first.
# Returns {number of the refusing rule or 0, hits of the first rule, microseconds to wait}.
_SCRIPT = """
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local used, reset = 0, 0
for i, key in ipairs(KEYS) do
  local limit, window = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local oldest = tonumber(redis.call('LINDEX', key, 0))
  while oldest and oldest <= now - window do
    redis.call('LPOP', key)
    oldest = tonumber(redis.call('LINDEX', key, 0))
  end
  local count = redis.call('LLEN', key)
  if count >= limit then
    local blocking = limit > 0 and tonumber(redis.call('LINDEX', key, -limit)) or now
    return {i, count, math.min(blocking + window - now, window)}
  end
  if i == 1 then
    used, reset = count + 1, math.min((oldest or now) + window - now, window)
  end
end
for i, key in ipairs(KEYS) do
  redis.call('RPUSH', key, string.format('%.0f', now))
  redis.call('PEXPIRE', key, math.ceil(ARGV[2 * i] / 1000))
end
return {0, used, reset}
"""


class RedisRateLimiter:
    """Asks Redis once a request, for at most ``call_seconds``; else the local windows answer.

    What Redis admits is charged locally too, so that a fallback does not start from zero. What it
    refuses is remembered until there is room again: a flood of a refused visitor stays here.
    """

    def __init__(
        self,
        url: str,
        clock: Clock,
        keys_max: int = KEYS_MAX,
        call_seconds: float = CALL_SECONDS,
    ) -> None:
        self._clock = clock
        self._call_seconds = call_seconds
        self._local = LocalRateLimiter(clock, keys_max)
        self.decisions_by_source = self._local.decisions_by_source
        self._breaker = Breaker()
        self._denied_until: dict[Rule, float] = {}
        pool = BlockingConnectionPool.from_url(
            # redis-py does not know Valkey's name for the same protocol.
            url.replace("valkey", "redis", 1) if url.startswith("valkey") else url,
            max_connections=_CONNECTIONS_MAX,
            timeout=call_seconds,
            driver_info=None,
        )
        self._redis = Redis.from_pool(pool)
        self._script = self._redis.register_script(_SCRIPT)
        self._log = get_logger("ratelimit")

    @property
    def windows_held(self) -> int:
        """See ``contracts.runtime.ratelimit.RateLimiter``."""
        return self._local.windows_held

    async def admit(self, rules: Sequence[Rule]) -> Decision:
        """See ``contracts.runtime.ratelimit.RateLimiter``; never raises what Redis raises."""
        asked_at = self._clock.monotonic()
        denial = self._known_denial(rules, asked_at)
        if denial is not None:
            return self._counted("cached", denial)
        if not self._breaker.allows(asked_at):
            return self._counted("fallback", self._local.decide(rules))
        try:
            async with asyncio.timeout(self._call_seconds):
                refused_by, used, microseconds = await self._script(*_call(rules))
        except (RedisError, OSError, TimeoutError) as error:
            await self._fail(error)
            return self._counted("fallback", self._local.decide(rules))
        self._succeed()
        wait = microseconds / 1_000_000
        if refused_by:
            return self._counted("redis", self._refuse(rules[refused_by - 1], asked_at, wait))
        self._local.charge(rules)
        return self._counted("redis", admission(rules[0], used, wait))

    async def close(self) -> None:
        """See ``contracts.runtime.ratelimit.RateLimiter``."""
        await self._redis.aclose()

    def _counted(self, source: str, decision: Decision) -> Decision:
        self.decisions_by_source[source] += 1
        return decision

    def _known_denial(self, rules: Sequence[Rule], now: float) -> Decision | None:
        if self._denied_until:
            for rule in rules:
                until = self._denied_until.get(rule)
                if until is not None:
                    if until > now:
                        return refusal(rule, until - now)
                    del self._denied_until[rule]
        return None

    def _refuse(self, rule: Rule, asked_at: float, wait: float) -> Decision:
        if len(self._denied_until) >= _DENIALS_MAX:
            # Only a cache: what is forgotten is asked for again.
            self._denied_until.clear()
        self._denied_until[rule] = asked_at + wait
        return refusal(rule, wait)

    def _succeed(self) -> None:
        if self._breaker.succeeded(self._clock.monotonic()):
            self._log.info("rate limits are shared again")

    async def _fail(self, error: Exception) -> None:
        # A server that answers with an error is reachable: one bad key must not stop the others.
        is_gone = not isinstance(error, ResponseError)
        if self._breaker.failed(self._clock.monotonic(), is_gone=is_gone):
            self._log.warning("rate limits are local for now", error=type(error).__name__)
        if isinstance(error, ReadOnlyError):
            # A demoted primary stays connected; only a new connection finds the new one.
            with suppress(RedisError, OSError):
                await self._redis.connection_pool.disconnect()


def _call(rules: Sequence[Rule]) -> tuple[list[str], list[int]]:
    """The script's keys and arguments. The braces keep a form's keys on one node of a cluster."""
    keys, arguments = [], []
    for rule in rules:
        scope = coarser_key(rule.key)
        keys.append(f"{_NAMESPACE}:{{{scope}}}{rule.key[len(scope) :]}:{rule.seconds}")
        arguments += [rule.limit, rule.seconds * 1_000_000]
    return keys, arguments


class Breaker:
    """Whether Redis is worth asking. Times are monotonic seconds.

    It rests for 5 s when at least half of at least 20 calls failed within 10 s; an absolute count
    would trip on a harmless blip of a busy gateway. A server that is gone (no answer, rather than
    an error) rests at once, from 0.25 s doubling to 5 s, because a quiet gateway would take minutes
    to see 20 calls and add the time limit to each. After a rest one call at a time is the trial.
    """

    _RATIO_MIN = 0.5
    _CALLS_MIN = 20
    _COUNTED_SECONDS = 10
    _REST_SECONDS_MIN = 0.25
    _REST_SECONDS_MAX = 5.0

    def __init__(self) -> None:
        self._seconds: deque[list[int]] = deque()
        self._rests_until = 0.0
        self._trial_until = 0.0
        self._rest_seconds = 0.0
        self._is_on_trial = False

    def allows(self, now: float) -> bool:
        """Whether to make a call; True starts the trial if one is due."""
        if not self._is_on_trial:
            return True
        if now < self._rests_until or now < self._trial_until:
            return False
        self._trial_until = now + CALL_SECONDS
        return True

    def succeeded(self, now: float) -> bool:
        """Counts a success; True if it ended the trial."""
        self._count(now, 0)
        was_on_trial, self._is_on_trial = self._is_on_trial, False
        self._rest_seconds = self._trial_until = 0.0
        return was_on_trial

    def failed(self, now: float, *, is_gone: bool) -> bool:
        """Counts a failure; True if this ended a time of health."""
        self._count(now, 1)
        was_on_trial = self._is_on_trial
        if self._is_tripped():
            self._rest(now, self._REST_SECONDS_MAX)
            self._seconds.clear()
        elif (is_gone or was_on_trial) and now >= self._rests_until:
            self._rest(now, max(self._REST_SECONDS_MIN, self._rest_seconds * 2))
        return self._is_on_trial and not was_on_trial

    def _rest(self, now: float, seconds: float) -> None:
        self._rest_seconds = min(seconds, self._REST_SECONDS_MAX)
        self._rests_until = now + self._rest_seconds
        self._is_on_trial = True

    def _is_tripped(self) -> bool:
        calls = sum(second[1] for second in self._seconds)
        failures = sum(second[2] for second in self._seconds)
        return calls >= self._CALLS_MIN and failures >= calls * self._RATIO_MIN

    def _count(self, now: float, failures: int) -> None:
        second = int(now)
        while self._seconds and self._seconds[0][0] <= second - self._COUNTED_SECONDS:
            self._seconds.popleft()
        if not self._seconds or self._seconds[-1][0] != second:
            self._seconds.append([second, 0, 0])
        self._seconds[-1][1] += 1
        self._seconds[-1][2] += failures
