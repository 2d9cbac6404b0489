"""The sliding windows in memory, against a log that is searched from end to end."""

import tracemalloc
from dataclasses import dataclass
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limits import RateLimitItemPerMinute
from limits.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter

from contracts.runtime.windows import SlidingWindows, coarser_key
from tests.support.clock import ManualClock

# Multiples of a quarter, which floats add exactly, on both sides of every edge.
PAUSES = (0.0, 0.0, 0.0, 0.25, 0.75, 1.0, 14.0, 29.75, 59.75, 60.0, 60.25, 121.0)


@dataclass(frozen=True)
class Step:
    pause: float
    key: str
    limit: int
    seconds: int


STEPS = [Step(*values) for values in product(PAUSES, "abc", (1, 2, 5), (1, 60))]


class Log:
    """Every hit that ever was."""

    def __init__(self) -> None:
        self._hits: dict[tuple[str, int], list[float]] = {}

    def live(self, key: str, seconds: int, now: float) -> list[float]:
        return [t for t in self._hits.get((key, seconds), []) if t + seconds > now]

    def test(self, key: str, limit: int, seconds: int, now: float) -> float:
        live = self.live(key, seconds, now)
        return live[-limit] + seconds - now if len(live) >= limit else 0.0

    def charge(self, key: str, limit: int, seconds: int, now: float) -> tuple[int, float]:
        self._hits.setdefault((key, seconds), []).append(now)
        live = self.live(key, seconds, now)
        return len(live), live[0] + seconds - now


@settings(deadline=None, max_examples=150, database=None)
@given(st.lists(st.sampled_from(STEPS), min_size=250, max_size=250))
def test_every_answer_is_that_of_the_log(steps: list[Step]) -> None:
    clock, log = ManualClock(), Log()
    windows = SlidingWindows(clock)
    for step in steps:
        clock.advance(step.pause)
        hit = (step.key, step.limit, step.seconds, clock.monotonic())
        wait = windows.test(*hit)
        assert wait == log.test(*hit)
        if wait == 0.0:
            assert windows.charge(*hit) == log.charge(*hit)


def test_a_hit_is_live_until_its_window_has_passed_to_the_instant() -> None:
    windows = SlidingWindows(ManualClock())
    windows.charge("a", 1, 60, 1_000.0)
    assert windows.test("a", 1, 60, 1_059.75) == 0.25
    assert windows.test("a", 1, 60, 1_060.0) == 0.0


def test_a_burst_at_the_edge_of_a_window_gets_no_second_limit() -> None:
    windows = SlidingWindows(ManualClock())
    for _ in range(10):
        windows.charge("a", 10, 60, 1_059.0)
    admitted = sum(windows.test("a", 10, 60, 1_060.0 + n) == 0.0 for n in range(59))
    assert admitted == 0


def test_a_limit_of_nothing_admits_nothing() -> None:
    assert SlidingWindows(ManualClock()).test("a", 0, 60, 1_000.0) == 60.0


def test_untested_charges_keep_no_more_hits_than_the_limit_needs() -> None:
    windows = SlidingWindows(ManualClock())
    charged = [windows.charge("a", 3, 60, 1_000.0 + n) for n in range(5)]
    assert charged == [(1, 60.0), (2, 59.0), (3, 58.0), (3, 58.0), (3, 58.0)]
    assert windows.test("a", 3, 60, 1_004.0) == 58.0


def test_a_flood_of_new_keys_neither_grows_the_table_nor_evicts_a_live_window() -> None:
    clock = ManualClock()
    windows = SlidingWindows(clock, keys_max=100)
    regulars = [f"frm_1/10.0.0.{n}" for n in range(100)]
    windows.test("frm_1", 1, 60, clock.monotonic())
    clock.advance(50)  # so that the generations change in the middle of the flood
    for key in regulars:
        windows.charge(key, 2, 60, clock.monotonic())
    for n in range(5_000):
        clock.advance(0.01)
        now = clock.monotonic()
        windows.charge(windows.key_for(f"frm_{n % 3}/10.1.{n}", 60, now), 2, 60, now)
    assert windows.keys_held == 100 + 3
    for key in regulars:
        assert windows.key_for(key, 60, now) == key
        assert windows.test(key, 1, 60, now) == pytest.approx(10.0)


def test_a_full_table_gives_new_visitors_one_window_per_form_until_there_is_room() -> None:
    clock = ManualClock()
    windows = SlidingWindows(clock, keys_max=2)
    for key in ("frm_1/10.0.0.1", "frm_1/10.0.0.2"):
        windows.charge(key, 5, 60, clock.monotonic())
    now = clock.monotonic()
    keys = ("frm_1/10.0.0.3", "frm_2/10.0.0.3", "key_1", "frm_1/10.0.0.2")
    placed = [windows.key_for(key, 60, now) for key in keys]
    assert placed == ["frm_1", "frm_2", "key_1", "frm_1/10.0.0.2"]
    for _ in range(2):
        clock.advance(60)
        windows.test("frm_1/10.0.0.3", 5, 60, clock.monotonic())
    assert windows.key_for("frm_1/10.0.0.3", 60, clock.monotonic()) == "frm_1/10.0.0.3"
    assert windows.keys_held == 0


def test_a_visitor_costs_little_memory() -> None:
    windows = SlidingWindows(ManualClock())
    tracemalloc.start()
    try:
        for n in range(50_000):
            key = f"frm_0123456789abcdefghij/10.{n >> 16}.{n >> 8 & 255}.{n & 255}"
            windows.charge(key, 10, 60, 1_000.0 + n / 1024)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held / 50_000 < 300


def test_it_is_a_storage_of_the_limits_library() -> None:
    clock = ManualClock()
    limiter, item = MovingWindowRateLimiter(SlidingWindows(clock)), RateLimitItemPerMinute(3)
    assert not limiter.hit(item, "frm_1", cost=4)
    assert limiter.hit(item, "frm_1", cost=2)
    clock.advance(20)
    assert not limiter.hit(item, "frm_1", cost=2)
    assert limiter.hit(item, "frm_1")
    assert not limiter.test(item, "frm_1")
    assert limiter.test(item, "frm_2")
    assert limiter.get_window_stats(item, "frm_1") == (clock.monotonic() + 40, 0)
    clock.advance(40)
    assert limiter.get_window_stats(item, "frm_1") == (clock.monotonic() + 20, 2)
    limiter.clear(item, "frm_1")
    assert limiter.get_window_stats(item, "frm_1").remaining == 3


def test_the_strategy_has_no_way_around_a_full_table() -> None:
    limiter = MovingWindowRateLimiter(SlidingWindows(ManualClock(), keys_max=1))
    item = RateLimitItemPerMinute(3)
    assert sum(limiter.hit(item, "frm_1", str(n)) for n in range(50)) == 1 + 3


def test_reset_forgets_everything() -> None:
    windows = SlidingWindows(ManualClock())
    windows.charge("a", 1, 60, 1_000.0)
    windows.charge("a", 1, 1, 1_000.0)
    assert (windows.check(), windows.reset(), windows.keys_held) == (True, 2, 0)
    assert windows.test("a", 1, 60, 1_000.0) == 0.0


def test_fixed_windows_are_refused_rather_than_approximated() -> None:
    windows = SlidingWindows(ManualClock())
    with pytest.raises(NotImplementedError):
        FixedWindowRateLimiter(windows).hit(RateLimitItemPerMinute(1), "a")
    with pytest.raises(NotImplementedError):
        windows.get("a")
    with pytest.raises(NotImplementedError):
        windows.get_expiry("a")
    assert windows.base_exceptions is ValueError


def test_a_coarser_key_is_what_stands_before_the_slash() -> None:
    keys = ("frm_1/20010db8/56", "frm_1/10.0.0.1", "key_1")
    assert [coarser_key(key) for key in keys] == ["frm_1", "frm_1", "key_1"]
