"""Posts with one key at once over several gateways are one submission."""

import asyncio
from pathlib import Path

import httpx

from tests.support.fleet import Fleet, running_fleet

ROUNDS = 200
AT_ONCE = 12


def test_one_key_posted_at_once_through_two_gateways_is_one_submission(tmp_path: Path) -> None:
    with running_fleet(tmp_path, gateways=2) as fleet:
        with fleet.manager() as manager:
            form = f"/v1/forms/{fleet.first['demo_form_id']}"
            manager.patch(form, json={"rate_limit_per_minute": 100_000}).raise_for_status()
        answers = asyncio.run(race_for_keys(fleet))
        assert [len(ids) for ids in answers] == [1] * ROUNDS
        assert stored(fleet) == sorted(id for ids in answers for id in ids)


async def race_for_keys(fleet: Fleet) -> list[set[str]]:
    """For each round, the ids that its concurrent posts were answered."""
    async with httpx.AsyncClient(timeout=20, trust_env=False) as client:

        async def post(key: str, number: int) -> str:
            answer = await client.post(
                f"{fleet.gateways[number % 2]}/v1/f/demo",
                data={"n": "the same"},
                headers={"idempotency-key": key},
            )
            return str(answer.raise_for_status().json()["id"])

        return [
            set(await asyncio.gather(*(post(f"round-{n}", number) for number in range(AT_ONCE))))
            for n in range(ROUNDS)
        ]


def stored(fleet: Fleet) -> list[str]:
    """The ids of the demo form's submissions."""
    path = f"/v1/forms/{fleet.first['demo_form_id']}/submissions.csv"
    with fleet.manager() as manager:
        lines = manager.get(path).raise_for_status().text.splitlines()[1:]
    return sorted(line.partition(",")[0] for line in lines)
