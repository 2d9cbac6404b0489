"""Wall clocks that jump do not refuse, lose or double a post, nor make a second month."""

import asyncio
from pathlib import Path

import pytest

from tests.faults.clocks import RECOGNISED, library, run_jumps, run_month_edge
from tests.faults.spoilt import command

pytestmark = pytest.mark.skipif(
    library() is None, reason="faketime is not installed (Debian: apt-get install faketime)"
)


def test_a_jump_by_an_hour_or_a_day_refuses_and_loses_nothing(tmp_path: Path) -> None:
    found = asyncio.run(run_jumps(tmp_path, 0.2))
    assert set(found.statuses) <= {200, 202}
    assert found.lost == []
    assert found.recognised == RECOGNISED
    assert found.reopened == []
    assert list(found.months.values()) == [found.charged]


def test_rate_limits_that_go_by_the_wall_clock_are_found_out(tmp_path: Path) -> None:
    commands = {f"gateway-{n}": command("window-by-wall-clock") for n in range(2)}
    assert asyncio.run(run_jumps(tmp_path, 0.0, commands)).reopened


def test_no_month_is_above_its_quota_when_posts_cross_its_edge(tmp_path: Path) -> None:
    edge = asyncio.run(run_month_edge(tmp_path, 40))
    assert edge.complaint() is None
    assert len(edge.months) == 2
