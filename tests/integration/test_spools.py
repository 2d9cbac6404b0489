"""``formflow spool``, and spools that a smaller number of workers leaves behind, as processes."""

import asyncio
import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from contracts.ids import new_id
from contracts.submissions import Submission
from gateway.spool.database import FORMAT
from gateway.spool.directory import DATABASE, set_aside
from gateway.spool.spool import Spool
from gateway.spool.summary import inspect
from tests.gateway.test_spool import opened, with_files
from tests.support.builders import NOW_MS, submission
from tests.support.fleet import TOKEN, Fleet, free_port, running_fleet
from tests.support.processes import clean_environment, run_formflow, until

_STOP_SECONDS = 30.0
_POSTS = 40


@contextmanager
def running_gateway(fleet: Fleet, *options: str) -> Iterator[str]:
    """The URL of a ready gateway of its own directory, on the fleet's backend."""
    port = free_port()
    with (fleet.directory / "gateway.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "formflow", "gateway", *options],
            env=clean_environment(**_settings(fleet, PORT=str(port))),
            stderr=log,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: _is_ready(url))
        yield url
    finally:
        process.terminate()
        assert process.wait(_STOP_SECONDS) == 0


def _settings(fleet: Fleet, **more: str) -> dict[str, str]:
    return {
        "DATA_DIR": str(fleet.directory / "gateway"),
        "INTERNAL_TOKEN": TOKEN,
        "BACKEND_URL": fleet.urls["backend"],
        "DRAIN_SECONDS": "0",
    } | more


def _is_ready(url: str) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"{url}/readyz").is_success
    return False


def _post(url: str) -> tuple[int, str]:
    """Status and id of a post on a connection of its own, so that any worker may get it."""
    answer = httpx.post(
        f"{url}/v1/f/demo", json={"a": "b"}, headers={"accept": "application/json"}, timeout=20.0
    )
    return answer.status_code, answer.json().get("id", "")


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """A backend whose demo form takes as many posts as come."""
    with running_fleet(tmp_path, gateways=0) as running:
        with running.manager() as manager:
            form = manager.get("/v1/forms").json()["data"][0]
            limit = {"rate_limit_per_minute": 100_000}
            manager.patch(f"/v1/forms/{form['id']}", json=limit).raise_for_status()
        yield running


def test_fewer_workers_deliver_what_more_of_them_have_promised(fleet: Fleet) -> None:
    root = fleet.directory / "gateway" / "spool"
    with running_gateway(fleet, "--workers", "2") as url:
        taken = [_post(url) for _ in range(_POSTS)]
        fleet.kill("backend")
        taken += [_post(url) for _ in range(_POSTS)]
    acknowledged = {id for status, id in taken if status in {200, 202}}
    waiting = [inspect(root / name).count for name in "01"]
    assert min(waiting) > 0
    assert sum(waiting) == sum(status == 202 for status, _ in taken)
    fleet.start("backend")
    with running_gateway(fleet):
        until(lambda: [inspect(root / name).count for name in "01"] == [0, 0])
    assert acknowledged <= _stored(fleet)


def _stored(fleet: Fleet) -> set[str]:
    found: set[str] = set()
    cursor: str | None = ""
    with fleet.manager() as manager:
        form = manager.get("/v1/forms").json()["data"][0]
        while cursor is not None:
            query = {"limit": "100"} | ({"cursor": cursor} if cursor else {})
            page = manager.get(f"/v1/forms/{form['id']}/submissions", params=query)
            found |= {row["id"] for row in page.raise_for_status().json()["data"]}
            cursor = page.json()["next_cursor"]
    return found


def test_a_second_gateway_on_a_spool_says_so_in_one_line_and_ends(fleet: Fleet) -> None:
    with running_gateway(fleet) as url:
        second = _settings(fleet, PORT=str(free_port()))
        done = run_formflow("gateway", **second)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert done.stderr.startswith("formflow: FORMFLOW_SPOOL_DIR: ")
        assert str(fleet.directory / "gateway" / "spool" / "0") in done.stderr
        assert _post(url)[0] == 200


class Spools:
    """A data directory with spools, and ``formflow spool`` on it."""

    def __init__(self, data: Path) -> None:
        self.data = data

    def directory(self, number: int) -> Path:
        return self.data / "spool" / str(number)

    def fill(
        self, number: int, waiting: Sequence[Submission] = (), rejected: Sequence[Submission] = ()
    ) -> None:
        async def put() -> None:
            async with opened(self.directory(number)) as spool:
                for each in rejected:
                    await _put(spool, each)
                    [found] = await spool.oldest(1, 1)
                    await spool.reject(found.sequence, "form-not-found", "Gone.")
                for each in waiting:
                    await _put(spool, each)

        asyncio.run(put())

    def run(self, *arguments: str, status: int = 0) -> Any:
        done = run_formflow("spool", *arguments, "--json", DATA_DIR=str(self.data))
        assert (done.returncode, done.stderr) == (status, "")
        return json.loads(done.stdout)

    def say(self, *arguments: str, status: int = 0) -> str:
        done = run_formflow("spool", *arguments, DATA_DIR=str(self.data))
        assert done.returncode == status
        return done.stdout + done.stderr

    def waiting(self, number: int) -> list[Submission]:
        async def find() -> list[Submission]:
            async with opened(self.directory(number)) as spool:
                return [found.submission for found in await spool.oldest(1_000, 10**9)]

        return asyncio.run(find())

    def levels(self, number: int) -> tuple[int, int, int]:
        found = inspect(self.directory(number))
        return found.count, found.rejected_count, len(found.set_aside)


async def _put(spool: Spool, each: Submission) -> None:
    assert await spool.put(each, each.lease_id, [bytes(file.size) for file in each.files]) is None


def _zeros(*sizes: int) -> Submission:
    return with_files(*(bytes(size) for size in sizes))


@pytest.fixture
def spools(tmp_path: Path) -> Spools:
    return Spools(tmp_path / "data")


def test_what_needs_a_hand_is_listed_of_every_spool(spools: Spools) -> None:
    refused = submission(form_id="frm_\x1b[31m")
    spools.fill(0, waiting=[submission()])
    spools.fill(3, rejected=[refused])
    first, second = spools.run("list")
    assert (first["spool"], first["waiting"], first["rejected"]) == (0, 1, [])
    assert first["oldest_received_at"].startswith("2026-")
    [row] = second["rejected"]
    assert (row["id"], row["why"], row["detail"]) == (refused.id, "form-not-found", "Gone.")
    assert (row["rejected_at"] > "2026", row["bytes"] > 0) == (True, True)
    said = spools.say("list")
    assert refused.id in said
    assert "\x1b" not in said


def test_an_export_has_every_rejected_submission_and_copies_of_its_files(spools: Spools) -> None:
    whole, cut, waiting = _zeros(3, 0), _zeros(5), submission()
    spools.fill(1, rejected=[whole, cut], waiting=[waiting])
    (spools.directory(1) / "files" / cut.id / "0").write_bytes(b"")
    target = spools.data / "salvage"
    report = spools.run("export", "-o", str(target))
    assert (report["submissions"], report["files"], report["unreadable"]) == (2, 2, 1)
    lines = _lines(target)
    assert [line["id"] for line in lines] == [whole.id, cut.id]
    assert lines[0]["payload"] == json.loads(whole.payload)
    assert lines[0]["meta"] == json.loads(whole.meta)
    assert lines[0]["why"] == "form-not-found"
    contents = [(target / file["path"]).read_bytes() for file in lines[0]["files"]]
    assert contents == [bytes(3), b""]
    assert [file["path"] for file in lines[1]["files"]] == [None]
    assert target.stat().st_mode & 0o777 == 0o700
    assert "cannot be written" in spools.say("export", "-o", str(target), status=1)
    more = spools.run("export", "-o", str(spools.data / "more"), "--with-waiting")
    assert more["submissions"] == 3
    assert spools.levels(1) == (1, 2, 0)


def _lines(target: Path) -> list[Any]:
    return [json.loads(line) for line in (target / "submissions.jsonl").read_bytes().splitlines()]


def test_what_is_retried_is_back_at_its_place_in_the_queue(spools: Spools) -> None:
    refused = [replace(_zeros(3), lease_id="lease_1"), submission(idempotency_key="k")]
    other, later = submission(), submission()
    spools.fill(0, rejected=[*refused, other], waiting=[later])
    said = spools.say("retry", refused[0].id, "sub_1", status=1)
    assert "sub_1: not rejected here" in said
    assert spools.run("retry", *(each.id for each in refused))["retried"] == 2
    assert spools.levels(0) == (3, 1, 0)
    assert spools.waiting(0) == [*refused, later]
    assert spools.run("retry", "--all") == {"retried": 1, "kept": [], "unreadable": 0}
    assert spools.waiting(0) == [*refused, other, later]


def test_what_cannot_be_retried_stays_and_the_reason_is_said(spools: Spools) -> None:
    bound, without_file = submission(idempotency_key="k"), _zeros(3)
    waiting = submission(idempotency_key="k")
    spools.fill(0, rejected=[bound, without_file], waiting=[waiting])
    (spools.directory(0) / "files" / without_file.id / "0").unlink()
    report = spools.run("retry", "--all", status=1)
    assert report["retried"] == 0
    assert {row["id"]: row["why"] for row in report["kept"]} == {
        bound.id: f"its idempotency key is bound to {waiting.id}",
        without_file.id: "it, or a file of it, cannot be read any more",
    }
    assert spools.levels(0) == (1, 2, 0)


def test_what_is_discarded_is_gone_with_its_files_and_its_room(spools: Spools) -> None:
    gone, kept = _zeros(3), _zeros(4)
    spools.fill(0, rejected=[gone, kept], waiting=[submission()])
    before = inspect(spools.directory(0)).rejected_bytes
    assert "Say --yes" in spools.say("discard", gone.id, status=1)
    assert spools.levels(0) == (1, 2, 0)
    assert "1 submissions are deleted" in spools.say("discard", gone.id, "--yes")
    assert spools.levels(0) == (1, 1, 0)
    assert inspect(spools.directory(0)).rejected_bytes < before
    assert [path.name for path in (spools.directory(0) / "files").iterdir()] == [kept.id]
    spools.say("discard", "--all", "--yes")
    assert (spools.levels(0), inspect(spools.directory(0)).rejected_bytes) == ((1, 0, 0), 0)
    spools.say("discard", status=2)


def test_beside_a_gateway_all_is_shown_and_nothing_is_changed(spools: Spools) -> None:
    refused = submission()
    spools.fill(0, rejected=[refused])
    spools.fill(1, rejected=[submission()])

    async def look() -> None:
        async with opened(spools.directory(1)) as spool:
            await spool.put(submission(), None)
            listed = await asyncio.to_thread(spools.run, "list")
            assert [each["is_in_use"] for each in listed] == [False, True]
            assert [len(each["rejected"]) for each in listed] == [1, 1]
            for command in (["retry", "--all"], ["discard", "--all", "--yes"]):
                said = await asyncio.to_thread(spools.say, *command, status=1)
                assert "stop its gateway first" in said
                assert said.count("\n") == 1
            assert (spool.count, spool.rejected_count) == (1, 1)
            report = await asyncio.to_thread(spools.run, "retry", refused.id)
            assert report["retried"] == 1

    asyncio.run(look())
    assert spools.levels(0) == (1, 0, 0)


def test_a_damaged_database_is_salvaged_around_its_damage(spools: Spools) -> None:
    put = [submission(payload=json.dumps({"a": "x" * 1_000})) for _ in range(300)]
    with_file = _zeros(3)
    spools.fill(0, waiting=[*put, with_file])
    path = spools.directory(0) / DATABASE
    _damage(path)
    aside = set_aside(spools.directory(0), NOW_MS)
    # It has been delivered since, or is in the queue already, with the same id.
    spools.fill(0, waiting=[put[0]])
    report = spools.run("export", "-o", str(spools.data / "salvage"))
    lines = _lines(spools.data / "salvage")
    found = [line["id"] for line in lines]
    everything = [each.id for each in [*put, with_file]]
    assert found == [id for id in everything if id in set(found)]
    assert (report["submissions"], report["files"]) == (len(found), 1)
    assert 0 < len(everything) - len(found) <= report["unreadable"] < 40
    assert {line["database"] for line in lines} == {aside.name}
    retried = spools.run("retry", "--set-aside")
    assert (retried["retried"], retried["unreadable"]) == (len(found) - 1, report["unreadable"])
    assert [each.id for each in spools.waiting(0)] == found
    assert spools.run("retry", "--set-aside")["retried"] == 0
    spools.say("discard", "--set-aside", "--yes")
    assert spools.levels(0) == (len(found), 0, 0)


def _damage(path: Path) -> None:
    """Overwrites a page in the middle that holds rows, and one byte in the text of a row."""
    with closing(sqlite3.connect(path)) as connection:
        [page_bytes] = connection.execute("PRAGMA page_size").fetchone()
        assert connection.execute("PRAGMA user_version").fetchone() == (FORMAT,)
    data = bytearray(path.read_bytes())
    middle = len(data) // page_bytes // 2 * page_bytes
    data[middle : middle + page_bytes] = bytes(page_bytes)
    text = data.index(b"xxxxxxxx", 3 * len(data) // 4)
    data[text] = ord("y")
    path.write_bytes(data)


def test_a_database_that_is_none_is_named(spools: Spools) -> None:
    spools.fill(0)
    (spools.directory(0) / f"{DATABASE}.bad-20260501T000000Z").write_bytes(b"nothing" * 1_000)
    report = spools.run("export", "-o", str(spools.data / "salvage"))
    [(path, problem)] = report["unopened"].items()
    assert (Path(path).name, problem) == (
        f"{DATABASE}.bad-20260501T000000Z",
        "file is not a database",
    )


def test_the_doctor_names_the_commands(spools: Spools) -> None:
    spools.fill(0, rejected=[submission(id=new_id("sub", NOW_MS))])
    done = run_formflow("doctor", "--json", DATA_DIR=str(spools.data))
    [finding] = [each for each in json.loads(done.stdout) if each["check"] == "spools"]
    assert not finding["is_good"]
    assert "1 submissions that the backend refused" in finding["detail"]
    assert "formflow spool list" in finding["advice"]
