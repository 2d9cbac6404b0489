"""Whatever was half done when a process died is done once when it is back."""

import asyncio
from pathlib import Path

import pytest

from tests.faults.crash_points import POINTS
from tests.faults.crashes import run_crash
from tests.faults.spoilt import command


@pytest.mark.parametrize("name", POINTS)
def test_nothing_is_lost_or_doubled_by_a_crash_in_the_middle(tmp_path: Path, name: str) -> None:
    found = asyncio.run(run_crash(tmp_path, POINTS[name]))
    assert found.verdict.is_clean, str(found.verdict)
    assert found.verdict.acknowledged > 20
    assert (found.untold, found.split, found.vanished) == ([], [], [])
    # What the target has acknowledged and nobody has noted comes again, under its id.
    assert found.attempts > found.delivered or name != "after-delivery"


@pytest.mark.parametrize("name", ["after-commit", "after-drain-send"])
def test_a_new_id_for_what_was_spooled_is_found_out(tmp_path: Path, name: str) -> None:
    commands = {f"gateway-{number}": command("mint-at-drain") for number in range(2)}
    found = asyncio.run(run_crash(tmp_path, POINTS[name], commands))
    assert found.verdict.doubled or found.verdict.unresolved
