"""Several gateways act as one: keys, quota and revocation; and what floods of strangers cost."""

import asyncio
from collections import Counter
from pathlib import Path

from tests.faults.fleet import faulty_fleet, start_all
from tests.faults.floods import run_addresses, run_slugs
from tests.faults.limited import add_limited_form, write_plans
from tests.faults.races import (
    KeyRaces,
    Revocations,
    race_for_keys,
    race_for_quota,
    revoke,
)

SEED = 20261120
MIB = 1024 * 1024


def test_three_gateways_give_one_id_a_key_the_exact_quota_and_no_post_to_a_revoked_key(
    tmp_path: Path,
) -> None:
    statuses, races, revocations = asyncio.run(race(tmp_path))
    assert statuses == {200: 100, 402: 300}
    assert (races.split, races.stored) == ([], 100 + races.rounds)
    assert races.restarts > 0
    assert revocations.accepted_later == 0
    assert revocations.refused > 0


async def race(directory: Path) -> tuple[Counter[int], KeyRaces, Revocations]:
    """Every race over one fleet."""
    plans = str(write_plans(directory, 100))
    with faulty_fleet(directory, gateways=3, PLANS_FILE=plans) as fleet:
        await asyncio.to_thread(start_all, fleet)
        await add_limited_form(fleet)
        statuses = await race_for_quota(fleet, 400)
        races = await race_for_keys(fleet, 15, SEED, restart_share=0.15)
        return statuses, races, await revoke(fleet, 2, 1.0)


def test_a_flood_of_addresses_does_not_grow_a_full_table(tmp_path: Path) -> None:
    flood = asyncio.run(run_addresses(tmp_path, 3_000, visitors_max=2_000))
    assert flood.statuses == {415: 6_000}
    assert flood.grown + flood.grown_again < 32 * MIB
    assert (flood.honest_not_stored, flood.honest_posts > 0) == (0, True)


def test_a_flood_of_slugs_does_not_grow_the_cache(tmp_path: Path) -> None:
    flood = asyncio.run(run_slugs(tmp_path, 1_500))
    assert flood.statuses == {404: 3_000}
    assert flood.grown + flood.grown_again < 32 * MIB
    assert (flood.honest_not_stored, flood.honest_posts > 0) == (0, True)
