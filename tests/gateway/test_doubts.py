"""When a failure is taken for the fault of the row that failed."""

from collections import Counter

import pytest

from gateway.doubts import Doubts, Verdict
from tests.support.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def backend() -> Counter[str]:
    """What the backend has ``stored``."""
    return Counter()


@pytest.fixture
def doubts(clock: ManualClock, backend: Counter[str]) -> Doubts:
    return Doubts(clock, lambda: backend["stored"])


def trials(doubts: Doubts, clock: ManualClock, sequence: int, *, needs_proof: bool = True) -> float:
    """Tries the row until its fault is proven; the seconds that takes."""
    started = clock.monotonic()
    for _ in range(100):
        clock.advance(doubts.rest_seconds)
        assert doubts.is_trial_due
        if doubts.judge(sequence, needs_proof=needs_proof) is Verdict.PROVEN:
            return clock.monotonic() - started
    raise AssertionError("never proven")


def test_rows_that_fail_one_after_the_other_may_be_the_backends_fault(doubts: Doubts) -> None:
    verdicts = [doubts.judge(sequence, needs_proof=True) for sequence in range(1, 200)]
    assert set(verdicts) == {Verdict.OPEN}
    assert doubts.up_to == 199


def test_a_row_that_fails_behind_one_that_was_stored_keeps_nothing_up(
    doubts: Doubts, backend: Counter[str]
) -> None:
    backend["stored"] += 1
    assert doubts.judge(7, needs_proof=True) is Verdict.ROW
    assert doubts.up_to == 7


def test_without_anything_stored_meanwhile_nothing_is_ever_proven(
    doubts: Doubts, clock: ManualClock
) -> None:
    doubts.judge(1, needs_proof=True)
    with pytest.raises(AssertionError, match="never proven"):
        trials(doubts, clock, 1)


def test_a_fault_is_proven_over_a_minute_and_then_the_next_one_is_tried_at_once(
    doubts: Doubts, clock: ManualClock
) -> None:
    for sequence in (1, 2):
        doubts.judge(sequence, needs_proof=False)
    assert trials(doubts, clock, 1, needs_proof=False) == pytest.approx(63.75)
    assert doubts.is_trial_due
    assert trials(doubts, clock, 2, needs_proof=False) == pytest.approx(63.75)


def test_each_failure_needs_its_own_proof(
    doubts: Doubts, clock: ManualClock, backend: Counter[str]
) -> None:
    doubts.judge(1, needs_proof=True)
    verdicts = []
    for stored in [1, 0] * 9:
        backend["stored"] += stored
        clock.advance(60)
        verdicts.append(doubts.judge(1, needs_proof=True))
    assert verdicts.index(Verdict.PROVEN) == 16


def test_a_trial_that_ends_well_clears_all(
    doubts: Doubts, clock: ManualClock, backend: Counter[str]
) -> None:
    doubts.judge(1, needs_proof=True)
    for _ in range(8):
        backend["stored"] += 1
        clock.advance(60)
        assert doubts.judge(1, needs_proof=True) is Verdict.ROW
    doubts.clear()
    assert (doubts.up_to, doubts.is_trial_due) == (0, False)
    backend["stored"] += 1
    assert doubts.judge(1, needs_proof=True) is Verdict.ROW
