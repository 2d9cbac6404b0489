"""Rules, decisions and headers of the rate limit, with the limiter of one process."""

from itertools import product
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.runtime.rate_headers import rate_headers
from contracts.runtime.ratelimit import (
    Decision,
    LocalRateLimiter,
    Rule,
    create_rate_limiter,
    key_rules,
    visitor_rules,
)
from tests.runtime.test_windows import PAUSES, Log
from tests.support.clock import ManualClock

RULE_SETS = (
    (Rule("f/a", 2, 60), Rule("f/wide", 3, 60)),
    (Rule("f/b", 2, 60), Rule("f/wide", 3, 60)),
    (Rule("key", 5, 60), Rule("key", 2, 1)),
    (Rule("f/c", 1, 60),),
)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def limiter(clock: ManualClock) -> LocalRateLimiter:
    return LocalRateLimiter(clock)


def admitted(limiter: LocalRateLimiter, rules: tuple[Rule, ...], posts: int) -> int:
    return sum(limiter.decide(rules).is_admitted for _ in range(posts))


def judge(log: Log, rules: tuple[Rule, ...], now: float) -> Decision:
    """The decision by the book."""
    for rule in rules:
        wait = log.test(rule.key, rule.limit, rule.seconds, now)
        if wait > 0:
            return Decision(False, rule.limit, 0, ceil(wait), ceil(wait), rule.seconds)
    charged = [log.charge(rule.key, rule.limit, rule.seconds, now) for rule in rules]
    used, reset = charged[0]
    return Decision(True, rules[0].limit, rules[0].limit - used, ceil(reset), 0, rules[0].seconds)


@settings(deadline=None, max_examples=150, database=None)
@given(
    st.lists(st.sampled_from(list(product(PAUSES, RULE_SETS))), min_size=250, max_size=250),
)
def test_every_decision_is_that_of_the_log(
    steps: list[tuple[float, tuple[Rule, ...]]],
) -> None:
    clock, log = ManualClock(), Log()
    limiter = LocalRateLimiter(clock)
    for pause, rules in steps:
        clock.advance(pause)
        assert limiter.decide(rules) == judge(log, rules, clock.monotonic())


@pytest.mark.parametrize(
    ("client", "same", "other"),
    [
        ("192.0.2.7", "::ffff:192.0.2.7", "192.0.2.8"),
        ("192.0.2.7", "::ffff:c000:207", "::ffff:192.0.2.8"),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:3::1"),
        ("2001:db8:1:2::1", "2001:0DB8:0001:0002:0:0:0:1", "::1"),
        ("fe80::1", "fe80::2%eth0", "fe80:0:0:1::1"),
        ("", "", "192.0.2.7"),
        ("not:an:address", "not:an:address", "not:another"),
    ],
)
def test_a_client_is_an_ipv4_address_or_an_ipv6_64(client: str, same: str, other: str) -> None:
    first = visitor_rules("frm_1", client, 10)[0]
    assert first == visitor_rules("frm_1", same, 10)[0]
    assert first.key != visitor_rules("frm_1", other, 10)[0].key
    assert first.key != visitor_rules("frm_2", client, 10)[0].key
    assert (first.limit, first.seconds) == (10, 60)


def test_ipv6_has_wider_buckets_and_ipv4_has_none() -> None:
    rules = visitor_rules("frm_1", "2001:db8:1:203::1", 10)
    assert [(rule.key, rule.limit) for rule in rules] == [
        ("frm_1/20010db800010203/64", 10),
        ("frm_1/20010db8000102/56", 40),
        ("frm_1/20010db80001/48", 160),
    ]
    assert len(visitor_rules("frm_1", "::ffff:192.0.2.7", 10)) == 1


@pytest.mark.parametrize(
    ("template", "limit"),
    [("2001:db8:0:1::{:x}", 10), ("2001:db8:0:{:x}::1", 40), ("2001:db8:0:{:x}00::1", 160)],
    ids=["/64", "/56", "/48"],
)
def test_rotation_inside_a_network_gains_no_more_than_its_bucket(
    limiter: LocalRateLimiter, template: str, limit: int
) -> None:
    addresses = [template.format(n % 250 + 1) for n in range(1_000)]
    rules = [visitor_rules("frm_1", address, 10) for address in addresses]
    assert sum(limiter.decide(each).is_admitted for each in rules) == limit


def test_a_key_has_a_minute_and_a_burst(limiter: LocalRateLimiter, clock: ManualClock) -> None:
    rules = key_rules("key_1", per_minute=120, burst=50)
    assert admitted(limiter, rules, 100) == 50
    assert limiter.decide(rules) == Decision(False, 50, 0, 1, 1, 1)
    clock.advance(1)
    assert admitted(limiter, rules, 100) == 50
    clock.advance(1)
    assert admitted(limiter, rules, 100) == 20
    assert limiter.decide(rules) == Decision(False, 120, 0, 58, 58, 60)


def test_a_refused_post_uses_nothing_up_of_any_rule(
    limiter: LocalRateLimiter, clock: ManualClock
) -> None:
    rules = (Rule("f/a", 10, 60), Rule("f/wide", 2, 1))
    assert admitted(limiter, rules, 50) == 2
    clock.advance(1)
    assert limiter.decide(rules).remaining == 7


def test_decisions_count_down_and_say_when_to_come_back(
    limiter: LocalRateLimiter, clock: ManualClock
) -> None:
    rules = visitor_rules("frm_1", "192.0.2.7", 2)
    assert limiter.decide(rules) == Decision(True, 2, 1, 60, 0, 60)
    clock.advance(20.5)
    assert limiter.decide(rules) == Decision(True, 2, 0, 40, 0, 60)
    assert limiter.decide(rules) == Decision(False, 2, 0, 40, 40, 60)
    clock.advance(40)
    assert limiter.decide(rules).is_admitted


def test_a_full_table_is_never_no_limit(clock: ManualClock) -> None:
    limiter = LocalRateLimiter(clock, keys_max=1_000)
    flood = [visitor_rules("frm_1", f"10.0.{n >> 8}.{n & 255}", 10) for n in range(2_000)]
    assert sum(limiter.decide(rules).is_admitted for rules in flood) == 1_000 + 10
    newcomer = visitor_rules("frm_1", "2001:db8::1", 10)
    assert admitted(limiter, newcomer, 20) == 0
    assert admitted(limiter, visitor_rules("frm_2", "2001:db8::1", 10), 20) == 10
    assert admitted(limiter, flood[0], 20) == 9
    assert admitted(limiter, key_rules("key_1", 1_200, 50), 100) == 50


def test_a_lowered_limit_holds_at_once(limiter: LocalRateLimiter) -> None:
    assert admitted(limiter, visitor_rules("frm_1", "192.0.2.7", 10), 8) == 8
    assert admitted(limiter, visitor_rules("frm_1", "192.0.2.7", 3), 1) == 0
    assert admitted(limiter, visitor_rules("frm_1", "192.0.2.7", 10), 8) == 2


@pytest.mark.asyncio
async def test_without_a_url_the_limiter_is_local(clock: ManualClock) -> None:
    limiter = create_rate_limiter(None, clock)
    assert (await limiter.admit(visitor_rules("frm_1", "192.0.2.7", 10))).remaining == 9
    assert limiter.decisions_by_source == {"local": 1, "redis": 0, "fallback": 0, "cached": 0}
    await limiter.close()


def test_the_headers_of_an_admitted_post() -> None:
    assert dict(rate_headers(Decision(True, 10, 9, 60, 0, 60))) == {
        b"x-ratelimit-limit": b"10",
        b"x-ratelimit-remaining": b"9",
        b"x-ratelimit-reset": b"60",
        b"ratelimit-policy": b'"default";q=10;w=60',
        b"ratelimit": b'"default";r=9;t=60',
    }


def test_a_refusal_by_the_burst_rule_names_another_policy() -> None:
    headers = dict(rate_headers(Decision(False, 50, 0, 1, 1, 1)))
    assert headers[b"ratelimit-policy"] == b'"burst";q=50;w=1'
    assert headers[b"ratelimit"] == b'"burst";r=0;t=1'
