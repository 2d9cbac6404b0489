"""Nothing is lost, nothing is doubled, no quota is overshot: whatever dies, and when."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.cycles import POSTGRESQL, Outcome, Plan, run_cycles, run_farewell
from tests.faults.figure import CannotRun, directory_for
from tests.faults.postgres import PostgresqlServer as Server
from tests.faults.postgres import postgresql_server
from tests.faults.spoilt import command

SEED = 20261120


def run(directory: Path, **plan: object) -> Outcome:
    return asyncio.run(run_cycles(directory, Plan(**{"seed": SEED} | plan)))  # type: ignore[arg-type]


def assert_clean(outcome: Outcome) -> None:
    assert outcome.is_clean, f"{SEED}: {outcome.verdict}; {outcome.complaints}; {outcome.faults}"


@pytest.fixture
def server() -> Iterator[Server]:
    # The path of its socket has to be short.
    try:
        with directory_for("pg") as directory, postgresql_server(directory / "data") as server:
            yield server
    except CannotRun as reason:
        pytest.skip(str(reason))


def test_every_promise_is_kept_while_processes_are_killed_and_paused(tmp_path: Path) -> None:
    outcome = run(tmp_path, cycles=8, pause_seconds_max=3.0)
    assert_clean(outcome)
    assert outcome.verdict.acknowledged > 100


def test_a_gateway_that_is_asked_to_end_keeps_what_is_in_its_spool(tmp_path: Path) -> None:
    found = asyncio.run(run_farewell(tmp_path))
    assert (found.status, found.spooled > 0) == (0, True)
    assert found.verdict.is_clean, str(found.verdict)
    assert found.verdict.queued > 0


def test_every_promise_is_kept_while_postgresql_crashes(tmp_path: Path, server: Server) -> None:
    outcome = run(tmp_path, cycles=3, targets=(POSTGRESQL,), server=server)
    assert_clean(outcome)
    assert outcome.verdict.acknowledged > 30


def test_an_early_acknowledgement_is_found_out(tmp_path: Path) -> None:
    commands = {f"gateway-{n}": command("acknowledge-early") for n in range(2)}
    outcome = run(tmp_path, cycles=2, kill_share=1.0, polite_share=0.0, commands=commands)
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
