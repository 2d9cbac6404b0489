"""Behind a slow and lossy link all visitors are answered; nothing is lost or doubled."""

import asyncio
from pathlib import Path

import pytest

from tests.faults.slow_links import Link, Outcome, run_slow_link


def check(found: Outcome) -> None:
    """Fails unless everybody was answered, rightly, and all is well behind it."""
    assert found.sent_away == []
    assert (found.lost, found.doubled) == ([], [])
    assert found.after.keys() == {200}


@pytest.mark.parametrize(
    ("link", "is_given_up"),
    [(Link(1.8, 0.3), False), (Link(2.5, 0.0), True)],
    ids=["slow-and-lossy", "too-slow"],
)
def test_posts_are_stored_or_spooled(tmp_path: Path, link: Link, is_given_up: bool) -> None:
    found = asyncio.run(run_slow_link(tmp_path, link))
    check(found)
    assert found.slow.keys() <= {200, 202}
    assert found.slow[202] > 0 or not is_given_up


def test_posts_are_refused_without_a_spool(tmp_path: Path) -> None:
    found = asyncio.run(run_slow_link(tmp_path, Link(2.5, 0.2), SPOOL="off"))
    check(found)
    assert found.slow.keys() <= {200, 503}
    assert found.slow[503] > 0
