"""How fast a spool is drained into a backend that has just come back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.internal import BATCH_ITEMS_MAX
from gateway.pace import Pace
from tests.support.clock import ManualClock

_ROUND_TRIP_SECONDS = 0.005


def drained(
    pace: Pace, clock: ManualClock, seconds: float, took_seconds: float = _ROUND_TRIP_SECONDS
) -> int:
    """The rows that leave in that time, if a round takes so long."""
    rows, end = 0, clock.monotonic() + seconds
    while clock.monotonic() < end:
        count = pace.rows
        rows += count
        clock.advance(took_seconds + pace.rest_after(count, took_seconds))
    return rows


# From 30 posts a second on, the least that a gateway drains is within its share.
@given(arrivals=st.floats(30.0, 10_000.0), whole_seconds=st.integers(0, 4))
def test_in_the_first_seconds_the_backend_gets_a_fifth_more_at_most(
    arrivals: float, whole_seconds: int
) -> None:
    clock = ManualClock()
    pace = Pace(clock, BATCH_ITEMS_MAX)
    pace.begin(arrivals)
    drained(pace, clock, whole_seconds)
    # A round that is under way at the end counts whole.
    assert drained(pace, clock, 1.0) <= 0.2 * arrivals + pace.rows


def test_ten_minutes_at_200_a_second_are_drained_within_one() -> None:
    clock = ManualClock()
    pace = Pace(clock, BATCH_ITEMS_MAX)
    pace.begin(100.0)
    # One of two gateways.
    assert drained(pace, clock, 50.0) > 600 * 100
    # In many short rounds: live posts wait for the one that is under way.
    assert pace.rows == 64


def test_a_slow_backend_has_half_of_its_time_for_live_posts() -> None:
    clock = ManualClock()
    pace = Pace(clock, BATCH_ITEMS_MAX)
    pace.begin(100.0)
    drained(pace, clock, 12.0)
    # At this rate twice the time holds as many rows as twice the rounds.
    assert drained(pace, clock, 10.0, took_seconds=0.05) == pytest.approx(16_000, rel=0.05)
    assert pace.rest_after(pace.rows, 0.05) == pytest.approx(0.05, rel=0.05)
    # Behind one that is slower still, the drain is.
    assert drained(pace, clock, 10.0, took_seconds=0.5) == pytest.approx(2_560, rel=0.1)


def test_a_gateway_that_saw_next_to_nothing_drains_all_the_same() -> None:
    clock = ManualClock()
    pace = Pace(clock, BATCH_ITEMS_MAX)
    pace.begin(0.01)
    assert 15 <= drained(pace, clock, 5.0) <= 30
    assert drained(pace, clock, 25.0) > 10_000


def test_one_row_asks_whether_the_backend_is_back() -> None:
    clock = ManualClock()
    pace = Pace(clock, BATCH_ITEMS_MAX)
    assert pace.rows == 1
    pace.begin(10_000.0)
    assert pace.rows > 1
    pace.fail()
    assert pace.rows == 1


def test_failures_space_the_probes_out_up_to_a_bound() -> None:
    pace = Pace(ManualClock(), BATCH_ITEMS_MAX)
    waits = [pace.fail() for _ in range(8)]
    assert waits[:4] == pytest.approx([0.1, 0.2, 0.4, 0.8])
    assert waits[-1] == waits[-2] == 3.0
    pace.begin(1.0)
    assert pace.fail() == pytest.approx(0.1)


def test_success_after_success_keeps_the_beginning() -> None:
    clock = ManualClock()
    pace = Pace(clock, BATCH_ITEMS_MAX)
    pace.begin(100.0)
    clock.advance(8.0)
    faster = pace.rows
    pace.begin(100.0)
    assert pace.rows == faster > 2


def test_what_follows_a_drain_that_has_ended_begins_gently_again() -> None:
    clock = ManualClock()
    pace = Pace(clock, BATCH_ITEMS_MAX)
    pace.begin(1_000.0)
    clock.advance(60.0)
    assert pace.rows == BATCH_ITEMS_MAX
    pace.end()
    assert pace.rows == 1
    pace.begin(1_000.0)
    assert pace.rows == 6
