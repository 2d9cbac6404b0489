"""What was acknowledged survives a power cut, wherever it was kept."""

import asyncio
from pathlib import Path

import pytest

from tests.faults.forgetful import Directory, File, plain_cut, torn_cut
from tests.faults.powercut import Outcome, Plan, run_cuts, why_not
from tests.faults.spoilt import command

SEED = 20261120


def run(directory: Path, cuts: int, **commands: list[str]) -> Outcome:
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    return asyncio.run(run_cuts(directory, Plan(cuts, SEED, commands)))


def test_nothing_acknowledged_is_lost_by_plain_and_torn_cuts(tmp_path: Path) -> None:
    outcome = run(tmp_path, cuts=2)
    assert outcome.verdict.is_clean, f"{SEED}: {outcome.verdict}"
    assert outcome.corrupt == []
    assert outcome.verdict.acknowledged > 20
    assert outcome.verdict.queued > 0


@pytest.mark.parametrize(
    ("service", "variant"), [("backend", "sync-normal"), ("gateway-0", "spool-sync-normal")]
)
def test_commits_that_do_not_wait_for_the_disk_are_found_out(
    tmp_path: Path, service: str, variant: str
) -> None:
    assert run(tmp_path, 1, **{service: command(variant)}).verdict.lost


def test_the_disk_forgets_what_was_not_synced() -> None:
    root, file = Directory(0o40755), File(0o100644)
    root.now["a"] = file
    file.write(0, b"kept")
    file.sync()
    root.sync()
    file.write(2, b"gone")
    root.now["b"] = File(0o100644)
    root.forget(plain_cut())
    assert (list(root.now), bytes(file.now)) == (["a"], b"kept")


def test_a_torn_cut_keeps_whole_sectors() -> None:
    kept = set()
    for seed in range(20):
        file = File(0o100644)
        file.write(0, b"a" * 2048)
        file.sync()
        file.write(256, b"b" * 1024)
        file.forget(torn_cut(seed))
        text = bytes(file.now)
        borders = (0, 256, 512, 1024, 1280, 2048)
        pieces = [text[start:end] for start, end in zip(borders, borders[1:], strict=False)]
        assert all(len(set(piece)) == 1 for piece in pieces)
        kept.add(text.count(b"b"))
    assert {0, 1024} < kept
