"""Nothing is lost, nothing is doubled, no quota is overshot: whatever dies, and when."""

import asyncio
from pathlib import Path

from tests.faults.cycles import Outcome, Plan, run_cycles
from tests.faults.spoilt import command

SEED = 20261120


def run(directory: Path, **plan: object) -> Outcome:
    return asyncio.run(run_cycles(directory, Plan(**{"seed": SEED} | plan)))  # type: ignore[arg-type]


def test_every_promise_is_kept_while_processes_are_killed_and_paused(tmp_path: Path) -> None:
    outcome = run(tmp_path, cycles=8, pause_seconds_max=3.0)
    assert outcome.verdict.is_clean, f"{SEED}: {outcome.verdict}; {outcome.faults}"
    assert outcome.verdict.acknowledged > 100


def test_an_early_acknowledgement_is_found_out(tmp_path: Path) -> None:
    commands = {f"gateway-{n}": command("acknowledge-early") for n in range(2)}
    outcome = run(tmp_path, cycles=2, kill_share=1.0, commands=commands)
    assert outcome.verdict.lost


def test_a_new_id_for_what_is_sent_again_is_found_out(tmp_path: Path) -> None:
    outcome = run(
        tmp_path,
        cycles=2,
        kill_share=0.0,
        pause_seconds_max=1.5,
        targets=("backend",),
        commands={f"gateway-{n}": command("mint-anew") for n in range(2)},
    )
    assert outcome.verdict.doubled


def test_a_quota_that_refuses_nobody_is_found_out(tmp_path: Path) -> None:
    outcome = run(
        tmp_path, cycles=2, pause_seconds_max=0.2, commands={"backend": command("forget-quota")}
    )
    assert outcome.verdict.over_quota
