"""The peers of the load tests do what FormFlow does, or their figures would compare nothing."""

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from loadtests.peers import PEERS, running, why_missing
from loadtests.peers.programs import PROGRAMS
from loadtests.targets import Store, Target

FLOORS = [name for name in PEERS if PROGRAMS[name].is_floor]
STORING = [name for name in PEERS if not PROGRAMS[name].is_floor]
FORM: dict[str, str | list[str]] = {
    "name": "Zoë",
    "email": "zoe@example.com",
    "message": "Hello",
    "topic": ["sales", "help"],
}
LIMIT = 3


class Peer:
    """A running peer that stores, and its database."""

    def __init__(self, target: Target, database: Path) -> None:
        assert target.store is not None
        self.store: Store = target.store
        self.url = target.origin + target.path
        self.database = database

    def post(self, visitor: str, key: str | None = None) -> httpx.Response:
        return httpx.post(self.url, data=FORM, headers=headers(visitor, key))

    def add_form(self, slug: str, status: str, quota: int) -> str:
        """The address of a new form."""
        with closing(sqlite3.connect(self.database)) as connection, connection:
            connection.execute(
                "INSERT INTO forms (slug, status, quota, month, used) VALUES (?, ?, ?, '', 0)",
                (slug, status, quota),
            )
        return self.url.replace("demo", slug)


@pytest.fixture(scope="module", params=STORING)
def peer(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Peer]:
    """A peer that lets a visitor post three times a minute."""
    skip_unless_here(request.param)
    directory = tmp_path_factory.mktemp(request.param)
    with running(request.param, directory, posts_per_minute=LIMIT) as target:
        yield Peer(target, directory / "peer.sqlite3")


def headers(visitor: str, key: str | None = None) -> dict[str, str]:
    named = {"x-forwarded-for": visitor}
    return named if key is None else named | {"idempotency-key": key}


def skip_unless_here(name: str) -> None:
    if missing := why_missing(name):
        pytest.skip(f"{name}: {missing}")


@pytest.mark.parametrize("name", FLOORS)
def test_a_floor_answers_a_post(name: str, tmp_path: Path) -> None:
    skip_unless_here(name)
    with running(name, tmp_path) as target:
        answers = [httpx.post(target.origin + target.path, data=FORM) for _ in range(2)]
    assert [answer.json() for answer in answers] == [{"ok": True}] * 2
    assert target.store is None


def test_a_post_is_stored_whole_and_durably(peer: Peer) -> None:
    answer = peer.post("203.0.113.1").json()
    assert answer["ok"] is True
    with closing(sqlite3.connect(peer.database)) as connection:
        [(received_at, payload)] = connection.execute(
            "SELECT received_at, payload FROM submissions WHERE id = ?", (answer["id"],)
        )
    assert (received_at, json.loads(payload)) == (answer["received_at"], FORM)
    assert peer.store.durability() == {"journal_mode": "wal", "synchronous": "2"}


def test_a_key_is_stored_once_even_by_posts_that_arrive_together(peer: Peer) -> None:
    async def post_all() -> list[httpx.Response]:
        async with httpx.AsyncClient() as client:
            posts = [(f"198.51.100.{n}", "same" if n % 2 else None) for n in range(20)]
            return await asyncio.gather(
                *(client.post(peer.url, data=FORM, headers=headers(*post)) for post in posts)
            )

    rows = peer.store.stored()
    answers = asyncio.run(post_all())
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["id"] for answer in answers[1::2]}) == 1
    assert len({answer.json()["id"] for answer in answers}) == 11
    assert peer.store.stored() == rows + 11


def test_a_visitor_over_the_limit_is_refused_alone(peer: Peer) -> None:
    rows = peer.store.stored()
    # A sliding counter may admit one more where two of its windows meet.
    statuses = [peer.post("203.0.113.2").status_code for _ in range(LIMIT + 2)]
    statuses.append(peer.post("203.0.113.3").status_code)
    assert statuses[:LIMIT] == [200] * LIMIT
    assert 429 in statuses[LIMIT:]
    assert statuses[-1] == 200
    assert peer.store.stored() == rows + statuses.count(200)


@pytest.mark.parametrize(("status", "quota", "expected"), [("paused", 9, 403), ("live", 0, 402)])
def test_a_form_that_takes_nothing_stores_nothing(
    peer: Peer, status: str, quota: int, expected: int
) -> None:
    url = peer.add_form(f"{status}-{quota}", status, quota)
    rows = peer.store.stored()
    assert httpx.post(url, data=FORM, headers=headers("203.0.113.4")).status_code == expected
    assert httpx.post(f"{url}-no", data=FORM, headers=headers("203.0.113.4")).status_code == 404
    assert peer.store.stored() == rows
