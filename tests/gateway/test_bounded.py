"""The bounded tables under floods."""

from gateway.bounded import Denials, RecentlyUsed
from tests.support.clock import ManualClock


def test_a_flood_pushes_out_only_what_was_used_least_recently() -> None:
    table: RecentlyUsed[str, int] = RecentlyUsed(3)
    for n, key in enumerate("abc"):
        table.put(key, n)
    assert table.use("a") == 0
    table.put("b", 7)
    table.put("d", 8)
    assert sorted(table.items()) == [("a", 0), ("c", 2), ("d", 8)]


def test_denials_stay_bounded_and_the_oldest_goes_first() -> None:
    denials: Denials[int] = Denials(ManualClock(), seconds=5.0, size_max=100)
    for n in range(1_000):
        denials.add(n)
    assert len(denials) == 100
    assert 899 not in denials
    assert 900 in denials


def test_a_denial_ends_to_the_instant() -> None:
    clock = ManualClock()
    denials: Denials[str] = Denials(clock, seconds=5.0, size_max=100)
    denials.add("a")
    clock.advance(4.75)
    assert "a" in denials
    clock.advance(0.25)
    assert "a" not in denials
