"""A database that somebody else holds, or that is damaged: bounded answers, and no stack trace."""

import asyncio
from pathlib import Path

from tests.faults.damage import KINDS, WRONG, run_damage
from tests.faults.locked import run_locked, run_reader
from tests.faults.spoilt import command

SEED = 20261120
MIB = 1024 * 1024


def test_posts_are_answered_while_somebody_holds_the_write_lock(tmp_path: Path) -> None:
    found = asyncio.run(run_locked(tmp_path, 3.0))
    assert found.verdict.is_clean, str(found.verdict)
    assert found.meanwhile[500] == 0
    assert found.after[200] > 0


def test_a_backend_that_calls_stored_what_it_could_not_write_is_found_out(tmp_path: Path) -> None:
    # With the wait, the gateway would have given the batch up and spooled it.
    commands = {"backend": command("swallow-failures", "never-wait")}
    found = asyncio.run(run_locked(tmp_path, 1.0, commands))
    assert found.verdict.lost


def test_the_log_stays_as_it_is_once_a_long_reader_has_ended(tmp_path: Path) -> None:
    found = asyncio.run(run_reader(tmp_path, 1.5))
    assert found.verdict.is_clean, str(found.verdict)
    assert found.after <= found.held + 8 * MIB
    assert not found.others


def test_a_damaged_database_is_refused_or_whole_and_a_damaged_log_loses_its_tail(
    tmp_path: Path,
) -> None:
    trials = asyncio.run(run_damage(tmp_path, len(KINDS), SEED))
    assert not [trial for trial in trials if trial.verdict in WRONG]


def test_a_backend_that_starts_on_any_file_is_found_out(tmp_path: Path) -> None:
    commands = {"backend": command("start-unchecked")}
    trials = asyncio.run(run_damage(tmp_path, 4, SEED, commands))
    assert [trial for trial in trials if trial.verdict in WRONG]
