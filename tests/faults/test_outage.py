"""The backend goes away and comes back: posts are taken in, drained gently, and stored once."""

import asyncio
from pathlib import Path

import orjson

from contracts import internal
from tests.faults.fleet import FaultyFleet, faulty_fleet, start_all
from tests.faults.outage import Plan, run_outage, visit_first_while_hanging
from tests.faults.proxy import FaultyProxy, faulty_proxy
from tests.faults.spoilt import command
from tests.faults.verdict import read_rows
from tests.faults.wire import Connection

# Twice what the pace aims at: how even it is, and how quick, is a matter of the long set.
_DRAINED_RATIO_MAX = 0.4


def test_posts_are_queued_drained_and_stored_once(tmp_path: Path) -> None:
    found = asyncio.run(run_outage(tmp_path, Plan("kill", 2.0)))
    assert set(found.statuses_away) <= {200, 202}
    assert found.statuses_away[202] > 300
    assert (found.lost, found.doubled) == ([], [])
    assert found.drained_ratio <= _DRAINED_RATIO_MAX
    assert found.probes_at_once <= 2


def test_gateways_that_drain_all_at_once_are_found_out(tmp_path: Path) -> None:
    commands = {f"gateway-{n}": command("drain-at-once") for n in range(2)}
    found = asyncio.run(run_outage(tmp_path, Plan("kill", 1.5, commands=commands)))
    assert found.drained_ratio > _DRAINED_RATIO_MAX


def test_gateways_that_ask_a_hanging_backend_with_every_post_are_found_out(tmp_path: Path) -> None:
    commands = {f"gateway-{n}": command("probe-with-all") for n in range(2)}
    found = asyncio.run(run_outage(tmp_path, Plan("hang", 5.0, commands=commands)))
    assert found.probes_at_once > 2


def test_a_backend_that_hangs_is_noticed_and_posts_are_queued(tmp_path: Path) -> None:
    found = asyncio.run(run_outage(tmp_path, Plan("hang", 4.0)))
    assert found.statuses_away.keys() <= {200, 202}
    assert found.statuses_away[202] > 300
    assert (found.lost, found.doubled) == ([], [])
    assert found.probes_at_once <= 2


def test_the_first_visitor_of_a_form_is_not_refused_by_a_short_hang(tmp_path: Path) -> None:
    answer = asyncio.run(visit_first_while_hanging(tmp_path, 4.0))
    assert answer.status in (200, 202), answer


def test_a_swallowed_answer_and_a_connection_closed_as_it_is_used_double_nothing(
    tmp_path: Path,
) -> None:
    ids = asyncio.run(post_through_a_bad_network(tmp_path))
    assert len(ids) == len(set(ids)) == 30


async def post_through_a_bad_network(directory: Path) -> list[str]:
    """Thirty posts; the ids that were acknowledged, which are exactly the ids stored."""
    with faulty_fleet(directory, gateways=1) as fleet:
        async with faulty_proxy(fleet.urls["backend"]) as proxy:
            fleet.overrides["gateway-0"] = {"BACKEND_URL": proxy.url}
            await asyncio.to_thread(start_all, fleet)
            ids = [await _post(fleet, proxy, number) for number in range(30)]
            await asyncio.to_thread(fleet.until_drained, 30.0)
            assert {row.id for row in await read_rows(fleet)} == set(ids)
            batches = [each for each in proxy.requests if each.path == internal.SUBMISSIONS]
            assert len(batches) > 30
            return ids


async def _post(fleet: FaultyFleet, proxy: FaultyProxy, number: int) -> str:
    if number % 10 == 4:
        proxy.swallows_answers = 1
    if number % 10 == 8:
        proxy.closes_idle = 1
    connection = Connection(fleet.gateways[0])
    answer = await connection.post("/v1/f/demo", {"n": str(number)})
    connection.close()
    assert answer.status in (200, 202)
    return str(orjson.loads(answer.body)["id"])
