"""Plans, as data: the built-in figures, and an operator's own."""

from pathlib import Path

import httpx
import pytest

from backend.management import Services
from backend.plans.catalogue import Plan, load_plans
from contracts.runtime.settings import load_settings

# submissions a month, megabytes of a file, keys, calls a minute
BUILT_IN = {
    "free": (100, 0, 0, 1_200),
    "starter": (2_000, 10, 3, 1_200),
    "pro": (10_000, 25, 10, 1_200),
    "team": (100_000, 50, 25, 1_200),
    "enterprise": (None, 100, None, 10_000),
    "selfhost": (None, 25, None, 1_200),
}


def figures(plan: Plan) -> tuple[int | None, int, int | None, int]:
    return (
        plan.submissions_per_month,
        plan.file_megabytes,
        plan.keys,
        plan.requests_per_minute,
    )


def test_the_built_in_plans_are_these() -> None:
    plans = load_plans(load_settings(environ={}))
    assert {name: figures(plan) for name, plan in plans.items()} == BUILT_IN
    assert plans.default == "selfhost"
    assert all(plan.title for _, plan in plans.items())


@pytest.mark.asyncio
async def test_the_plans_are_listed(client: httpx.AsyncClient, services: Services) -> None:
    listed = (await client.get("/v1/plans")).json()
    assert listed["next_cursor"] is None
    assert [plan["name"] for plan in listed["data"]] == list(BUILT_IN)
    assert listed["data"][0] == {
        "name": "free",
        "title": "Free",
        "submissions_per_month": 100,
        "file_megabytes": 0,
        "keys": 0,
        "requests_per_minute": 1200,
        "retention_days": None,
        "members": None,
    }


def test_an_operator_s_plans_take_their_place(tmp_path: Path) -> None:
    file = tmp_path / "plans.toml"
    file.write_text(
        "[selfhost]\nfile_megabytes = 5\nrequests_per_minute = 60\nretention_days = 90\nmembers = 3"
    )
    plans = load_plans(load_settings(environ={}, plans_file=file))
    [(name, plan)] = plans.items()
    assert (name, plan.file_bytes, plan.retention_days, plan.members) == (
        "selfhost",
        5 * 1024 * 1024,
        90,
        3,
    )
    assert "free" not in plans
