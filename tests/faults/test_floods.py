"""What floods of strangers cost: tables with a bound, and an honest visitor who is served."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from tests.faults.floods import Flood, run_addresses, run_idempotency_keys, run_slugs
from tests.faults.spoilt import command

MIB = 1024 * 1024
VISITORS_MAX = 1_000
ADDRESSES = 1_000
SLUGS = 5_500
KEYS = 500
SPOILT = {"gateway-0": command("unbounded-tables")}
# Windows that are kept beyond the bound: those that the others share, and the honest visitor's.
SHARED = 10


def is_bounded(flood: Flood) -> bool:
    """Whether every table is as small as it is to be, and nothing of what was refused is kept."""
    gauges = flood.gauges
    return (
        gauges["formflow_rate_limit_windows"] <= VISITORS_MAX + SHARED
        and gauges["formflow_cached_absent_forms"] <= 10_000
        and gauges["formflow_idempotency_keys"] == 0
        and flood.keys_bound == 0
    )


def test_visitors_beyond_the_bound_share_their_windows(tmp_path: Path) -> None:
    flood = asyncio.run(run_addresses(tmp_path, ADDRESSES, VISITORS_MAX))
    assert flood.statuses == {415: 2 * ADDRESSES}
    check(flood)


def test_slugs_that_are_no_forms_fill_a_table_of_their_own_and_no_more(tmp_path: Path) -> None:
    flood = asyncio.run(run_slugs(tmp_path, SLUGS))
    assert flood.statuses == {404: 2 * SLUGS}
    check(flood)


def test_idempotency_keys_of_refused_posts_are_not_kept(tmp_path: Path) -> None:
    flood = asyncio.run(run_idempotency_keys(tmp_path, KEYS))
    assert flood.statuses == {422: 2 * KEYS}
    check(flood)


def check(flood: Flood) -> None:
    assert is_bounded(flood), flood.gauges
    assert flood.grown + flood.grown_again < 32 * MIB
    assert flood.honest_posts > 0
    assert flood.honest_not_stored == 0


@pytest.mark.parametrize(
    ("run", "count"), [(run_addresses, ADDRESSES), (run_slugs, SLUGS), (run_idempotency_keys, KEYS)]
)
def test_tables_without_a_bound_are_found_out(
    tmp_path: Path, run: Callable[..., Coroutine[None, None, Flood]], count: int
) -> None:
    assert not is_bounded(asyncio.run(run(tmp_path, count, commands=SPOILT)))
