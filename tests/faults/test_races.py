"""Several gateways act as one: keys, quota and revocation; and they are restarted one by one."""

import asyncio
from collections import Counter
from pathlib import Path

from tests.faults.feedcut import run_feed_cut
from tests.faults.fleet import faulty_fleet, start_all
from tests.faults.limited import add_limited_form, write_plans
from tests.faults.races import (
    KeyRaces,
    Revocations,
    is_exact,
    race_for_keys,
    race_for_quota,
    revoke,
)
from tests.faults.rolling import run_rolls
from tests.faults.spoilt import command

SEED = 20261120


def test_three_gateways_give_one_id_a_key_the_exact_quota_and_no_post_to_a_revoked_key(
    tmp_path: Path,
) -> None:
    statuses, races, revocations = asyncio.run(race(tmp_path))
    assert is_exact(statuses, 100, 400), statuses
    assert (races.split, races.stored) == ([], races.rounds)
    assert races.restarts > 0
    assert revocations.accepted_later == 0
    assert revocations.refused > 0


def test_races_that_a_backend_and_its_gateways_do_not_decide_are_found_out(tmp_path: Path) -> None:
    """One fleet whose backend counts and does not refuse, leaves idempotency keys to the gateways,
    and API keys to gateways that do not hear of them."""
    careless = command("forget-quota", "bind-no-key", "trust-gateway-keys")
    deaf = {f"gateway-{number}": command("deaf-to-keys") for number in range(3)}
    statuses, races, revocations = asyncio.run(
        race(tmp_path, {"backend": careless} | deaf, rounds=3)
    )
    assert statuses[200] > 100
    assert races.split
    assert revocations.accepted_later > 0


async def race(
    directory: Path, commands: dict[str, list[str]] | None = None, rounds: int = 15
) -> tuple[Counter[int], KeyRaces, Revocations]:
    """Every race over one fleet."""
    plans = str(write_plans(directory, 100))
    with faulty_fleet(directory, gateways=3, PLANS_FILE=plans) as fleet:
        fleet.commands = commands or {}
        await asyncio.to_thread(start_all, fleet)
        await add_limited_form(fleet)
        statuses = await race_for_quota(fleet, 400)
        races = await race_for_keys(fleet, rounds, SEED, restart_share=0.15)
        return statuses, races, await revoke(fleet, 2, 1.0)


def test_a_revoked_key_stores_nothing_behind_a_feed_that_is_cut(tmp_path: Path) -> None:
    found = asyncio.run(run_feed_cut(tmp_path, unready_seconds=0.0)).revocations
    assert found.accepted_later == 0
    assert found.refused > 0


def test_a_commit_that_trusts_a_gateway_with_keys_is_found_out(tmp_path: Path) -> None:
    commands = {"backend": command("trust-gateway-keys")}
    found = asyncio.run(run_feed_cut(tmp_path, commands, unready_seconds=0.0)).revocations
    assert found.accepted_later > 0


def test_two_gateways_are_restarted_one_by_one_and_nobody_notices(tmp_path: Path) -> None:
    rolls = asyncio.run(run_rolls(tmp_path, 2))
    assert set(rolls.statuses) <= {200, 202}
    assert set(rolls.exits) == {0}
    assert rolls.lost == []


def test_a_gateway_that_closes_the_moment_it_is_told_to_end_is_found_out(tmp_path: Path) -> None:
    commands = {f"gateway-{number}": command("close-at-once") for number in range(2)}
    rolls = asyncio.run(run_rolls(tmp_path, 2, commands=commands))
    assert not set(rolls.statuses) <= {200, 202}
