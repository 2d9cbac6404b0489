"""Leases, commits and the spool in virtual time: what holds in any weather, and that the
simulation would notice if it did not."""

import pytest

from tests.simulation.mutants import MUTANTS
from tests.simulation.scenario import run
from tests.simulation.world import Variant, Violation, World, posts_of

SEEDS = 500
PARTS = 10
# Found early by these; after a change to the story by any other.
FINDERS = (0, 1, 3, 8, 28, 69, 72, 101, 148, 191, 232, 249, 389)


@pytest.mark.parametrize("part", range(PARTS))
def test_no_unit_is_spent_twice_and_no_acknowledged_post_is_lost(part: int) -> None:
    for seed in range(part, SEEDS, PARTS):
        try:
            run(seed)
        except Violation as violation:
            pytest.fail(f"python -m tests.simulation --seeds 1 --first {seed}: {violation}")


@pytest.mark.parametrize("name", MUTANTS)
def test_the_simulation_finds_a_known_mistake(name: str) -> None:
    for seed in (*FINDERS, *range(1_000)):
        try:
            run(seed, MUTANTS[name])
        except Violation:
            return
    pytest.fail(f"no seed shows that it {name}")


def test_a_seed_tells_the_same_story_again() -> None:
    first, second = run(7), run(7)
    assert first.acknowledged.keys() == second.acknowledged.keys()
    assert first.schedule.now == second.schedule.now


@pytest.mark.parametrize("limit", [1, 7, 50, 120])
@pytest.mark.parametrize("gateways", [1, 4])
def test_in_good_weather_the_whole_quota_can_be_used(limit: int, gateways: int) -> None:
    world = _world_within_a_month(limit, gateways)
    for number in range(limit + 20):
        gateway = world.gateways[number % gateways]
        submission = world.submission(gateway.clock.now_ms(), "frm_a1", None)
        # Slowly: a post that finds nothing free waits for what is recalled.
        world.schedule.after(1.0 + number * 0.05, posts_of(gateway, [submission]))
    world.schedule.run(60.0)
    assert len(world.acknowledged) == limit


def test_what_a_dead_gateway_holds_is_stranded_until_it_is_back() -> None:
    world = _world_within_a_month(100, 2)
    dead, alive = world.gateways
    world.schedule.after(1.0, posts_of(dead, [world.submission(0, "frm_a1", None)]))
    world.schedule.after(2.0, dead.crash)
    for number in range(120):
        submission = world.submission(0, "frm_a1", None)
        world.schedule.after(3.0 + number * 0.05, posts_of(alive, [submission]))
    world.schedule.run(60.0)
    # A quarter of what was free: there are two gateways.
    assert len(world.acknowledged) == 100 - 99 // 4
    world.settle()
    world.check_end()


def _world_within_a_month(limit: int, gateways: int) -> World:
    world = World(1, limit=limit, gateways=gateways, variant=Variant())
    clocks = [backend.clock for backend in world.backends]
    for clock in (*clocks, *(gateway.clock for gateway in world.gateways)):
        clock.jump(3600)
    return world
