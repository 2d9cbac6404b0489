"""Behind twice as many visitors as the backend takes, those that it takes are as many as before."""

import asyncio
from pathlib import Path

import pytest

from tests.faults.overload import Plan, run_overload

_MIB = 1024**2


@pytest.mark.parametrize(
    ("spool", "plan"),
    [
        ("on", Plan(400.0)),
        ("off", Plan(400.0)),
        # Which takes no two full batches within their deadline: the gateway has to find out.
        ("off", Plan(100.0, warm_seconds=8.0)),
    ],
)
def test_goodput_does_not_collapse_and_refusals_are_quick(
    tmp_path: Path, spool: str, plan: Plan
) -> None:
    found = asyncio.run(run_overload(tmp_path, plan, SPOOL=spool))
    assert found.goodput >= 0.9
    assert found.statuses.keys() <= {200, 202, 503}
    assert found.statuses[503] > 0
    assert found.sent_away == []
    # A queue that grew with the visitors would be longer than any of these.
    assert found.accepted_p99_seconds < 6.0
    assert found.refused_p99_seconds < 3.0
    assert found.grown_bytes < 128 * _MIB
    assert (found.lost, found.doubled) == ([], [])
