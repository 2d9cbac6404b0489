"""Every submission is told of at least once, under one id, whatever dies and whatever hangs."""

import asyncio
from pathlib import Path

from tests.faults.deliveries import run_beside_hanging, run_kills
from tests.faults.spoilt import command

SEED = 20261121


def test_kill_nine_of_the_backend_loses_no_delivery_and_changes_no_id(tmp_path: Path) -> None:
    found = asyncio.run(run_kills(tmp_path, 5, SEED))
    assert found.acknowledged > 50
    assert (found.undelivered, found.split) == ([], [])


def test_a_delivery_that_is_done_before_it_is_made_is_found_out(tmp_path: Path) -> None:
    found = asyncio.run(
        run_kills(
            tmp_path, 4, SEED, {"backend": command("deliver-at-claim")}, patience_seconds=15.0
        )
    )
    assert found.undelivered


def test_fifty_hanging_targets_keep_nothing_from_a_good_one(tmp_path: Path) -> None:
    found = asyncio.run(run_beside_hanging(tmp_path, 50, 60))
    assert found.hanging >= 50
    assert found.posts > 40
    assert found.undelivered == []
