"""Usage of a real fleet: what is counted is what is stored, and what clients were told."""

import asyncio
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.fleet import Fleet, running_fleet
from tests.support.processes import until

FIELDS = {"email": "ada@example.com"}
ROUNDS = 20


class Visitors:
    """Post in every way, and keep what they were told."""

    def __init__(self, gateway: str) -> None:
        self.stored: set[str] = set()
        self.spam: set[str] = set()
        self.test: set[str] = set()
        self.replays = 0
        self.rejected: Counter[str] = Counter()
        self.file_bytes = 0
        self._client = httpx.AsyncClient(base_url=gateway, timeout=20, trust_env=False)

    async def leave(self) -> None:
        """Closes the connections."""
        await self._client.aclose()

    async def post(self, number: int) -> None:
        """One post of each kind."""
        key = {"idempotency-key": f"order-{number}"}
        cv = {"cv": ("cv.txt", b"x" * 1_000, "text/plain")}
        sent: list[tuple[set[str], str, dict[str, Any]]] = [
            (self.stored, "demo", {"data": FIELDS | {"n": str(number)}}),
            (self.stored, "demo", {"data": FIELDS, "headers": key}),
            (self.stored, "demo", {"data": FIELDS, "headers": key}),
            (self.spam, "demo", {"data": FIELDS | {"_gotcha": "a bot"}}),
            (self.test, "sandbox", {"data": FIELDS}),
            (self.stored, "demo", {"data": FIELDS, "headers": {"authorization": "Bearer x"}}),
            (self.stored, "demo", {"content": b"{", "headers": {"content-type": "text/json"}}),
            (self.stored, "limited", {"data": FIELDS}),
            (self.stored, "paused", {"data": FIELDS}),
        ]
        for ids, slug, request in sent:
            self._keep(ids, await self._client.post(f"/v1/f/{slug}", **request))
        answer = await self._client.post("/v1/f/demo", data=FIELDS, files=cv)
        self._keep(self.stored, answer)
        self.file_bytes += 1_000 * answer.is_success
        # Nobody's form is nobody's usage.
        assert (await self._client.post("/v1/f/nobodys", data=FIELDS)).status_code in {404, 503}

    def _keep(self, ids: set[str], answer: httpx.Response) -> None:
        if not answer.is_success:
            self.rejected[answer.json()["type"].rpartition("/")[2]] += 1
        elif "idempotency-replayed" in answer.headers:
            self.replays += 1
        else:
            ids.add(answer.json()["id"])


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_usage_equals_rows_and_answers_when_the_backend_is_killed(
    tmp_path: Path, engine: str, request: pytest.FixtureRequest
) -> None:
    settings = {}
    if engine == "postgresql":
        for url in request.getfixturevalue("postgresql_url")():
            settings["DATABASE_URL"] = url
            check(tmp_path, settings)
    else:
        check(tmp_path, settings)


def check(directory: Path, settings: dict[str, str]) -> None:
    with running_fleet(directory, gateways=1, **settings) as fleet:
        add_forms(fleet)
        visitors = asyncio.run(post_through_a_crash(fleet))
        expected = {
            "used": len(visitors.stored),
            "spam": len(visitors.spam),
            "test": len(visitors.test),
            "file_bytes": visitors.file_bytes,
        }
        until(lambda: rows(fleet) == expected)
        # A gateway that stops tells the rest.
        fleet.signal("gateway-0", signal.SIGTERM)
        until(lambda: usage(fleet)["rejected"] == dict(sorted(visitors.rejected.items())))
        told = usage(fleet)
    assert {name: told[name] for name in expected.keys() - {"used"}} | {
        "used": told["submissions"]["used"]
    } == expected
    assert told["replays"] == visitors.replays
    assert visitors.replays > 0
    assert visitors.rejected.keys() >= {
        "rate-limited",
        "form-not-live",
        "invalid-key",
        "unsupported-media-type",
    }


def add_forms(fleet: Fleet) -> None:
    demo = f"/v1/forms/{fleet.first['demo_form_id']}"
    often = {"rate_limit_per_minute": 100_000}
    with fleet.manager() as manager:
        manager.patch(demo, json=often).raise_for_status()
        for form in (
            {"slug": "sandbox", "mode": "test"} | often,
            {"slug": "paused", "status": "paused"} | often,
            {"slug": "limited", "rate_limit_per_minute": 5},
        ):
            manager.post("/v1/forms", json={"name": "A form"} | form).raise_for_status()


async def post_through_a_crash(fleet: Fleet) -> Visitors:
    visitors = Visitors(fleet.gateways[0])
    await asyncio.gather(*(visitors.post(number) for number in range(ROUNDS)))
    rest = [asyncio.create_task(visitors.post(number)) for number in range(ROUNDS, 2 * ROUNDS)]
    await asyncio.wait(rest, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.to_thread(fleet.kill, "backend")
    meanwhile = [visitors.post(number) for number in range(2 * ROUNDS, 3 * ROUNDS)]
    await asyncio.gather(*meanwhile)
    await asyncio.to_thread(fleet.start, "backend")
    await asyncio.gather(*rest, visitors.post(3 * ROUNDS))
    await visitors.leave()
    return visitors


def rows(fleet: Fleet) -> dict[str, int]:
    """What is stored, counted by its rows."""
    found = Counter({"used": 0, "spam": 0, "test": 0, "file_bytes": 0})
    with fleet.manager() as manager:
        for form in manager.get("/v1/forms").raise_for_status().json()["data"]:
            for submission in everything(manager, form["id"]):
                is_spam = submission["status"] == "spam"
                kind = "test" if form["mode"] == "test" else "spam" if is_spam else "used"
                found[kind] += 1
                found["file_bytes"] += sum(file["size"] for file in submission["files"])
    return dict(found)


def everything(manager: httpx.Client, form_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        query = {"status": "all", "limit": "100"} | ({"cursor": cursor} if cursor else {})
        page = manager.get(f"/v1/forms/{form_id}/submissions", params=query)
        found += page.raise_for_status().json()["data"]
        cursor = page.json()["next_cursor"]
        if not cursor:
            return found


def usage(fleet: Fleet) -> dict[str, Any]:
    """What the API says of this month."""
    with fleet.manager() as manager:
        document: dict[str, Any] = manager.get("/v1/usage").raise_for_status().json()
        return document


def test_a_new_plan_acts_on_every_gateway(tmp_path: Path) -> None:
    with running_fleet(tmp_path, gateways=2) as fleet, fleet.manager() as manager:
        new = {"name": "a key", "kind": "submission"}
        key = manager.post("/v1/api-keys", json=new).raise_for_status().json()["key"]

        def answers() -> set[tuple[int, str]]:
            """With a file and with a key: the plan's limits decide both."""
            sent = [
                httpx.post(
                    f"{url}/v1/f/demo",
                    data=FIELDS,
                    files={"cv": ("cv.txt", b"x", "text/plain")},
                    headers={"authorization": f"Bearer {key}"},
                    timeout=20,
                )
                for url in fleet.gateways
            ]
            return {(answer.status_code, answer.headers["x-ratelimit-limit"]) for answer in sent}

        assert answers() == {(200, "1200")}
        for plan, expected in (("enterprise", (200, "10000")), ("free", (413, "1200"))):
            manager.patch("/v1/account", json={"plan": plan}).raise_for_status()
            until(lambda expected=expected: answers() == {expected}, 5.0)  # type: ignore[misc]

        # Reported by processes that go on running.
        until(lambda: {"uploads-not-allowed"} <= usage(fleet)["rejected"].keys())
        until(lambda: usage(fleet)["api_calls"] > 0)
