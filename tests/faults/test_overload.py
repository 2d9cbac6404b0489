"""Behind twice as many visitors as the backend takes, those that it takes are as many as before."""

import asyncio
from pathlib import Path

import pytest

from tests.faults.overload import Plan, run_overload
from tests.faults.spoilt import command

_MIB = 1024**2


@pytest.mark.parametrize(
    ("spool", "capacity"),
    [
        ("on", 400.0),
        ("off", 400.0),
        # Which takes no two full batches within their deadline: the gateway has to find out.
        ("off", 100.0),
    ],
)
def test_goodput_does_not_collapse_and_who_is_refused_is_invited_back(
    tmp_path: Path, spool: str, capacity: float
) -> None:
    plan = Plan(capacity, spool=spool)
    found = asyncio.run(run_overload(tmp_path, plan))
    assert found.goodput >= plan.goodput
    assert found.statuses.keys() <= {200, 202, 503}
    assert found.statuses[503] > 0
    assert found.sent_away == []
    assert found.grown_bytes < 128 * _MIB
    assert (found.lost, found.doubled) == ([], [])


def test_a_gateway_that_sends_what_always_ends_too_late_is_found_out(tmp_path: Path) -> None:
    commands = {"gateway-0": command("full-batches")}
    found = asyncio.run(run_overload(tmp_path, Plan(100.0, seconds_max=15.0, commands=commands)))
    assert found.goodput < 0.5
