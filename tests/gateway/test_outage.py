"""While the backend is away: what is promised, and what becomes of it."""

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from contracts import internal
from contracts.leases import Lease
from contracts.runtime.clock import Clock
from contracts.submissions import Submission
from gateway import doubts, pace
from gateway.spool import files as spool_files
from gateway.spool.summary import SpoolSummary, inspect
from tests.support.builders import form_config
from tests.support.clock import ManualClock
from tests.support.gateways import running_gateway
from tests.support.mini_backend import MiniBackend

pytestmark = pytest.mark.asyncio

URL = "/v1/f/contact"
FIELDS = {"email": "ada@example.com", "message": "Hello"}
POISON = FIELDS | {"message": "poison"}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probes of a backend that is away, and trials of what is in doubt, do not become rarer."""
    monkeypatch.setattr(pace, "_RETRY_SECONDS_MAX", 0.1)
    monkeypatch.setattr(doubts, "_TRIAL_SECONDS_MAX", 0.02)


def backend_with(**form: bool) -> MiniBackend:
    return MiniBackend(forms={"contact": form_config(**({"has_quota": False} | form))})


@asynccontextmanager
async def gateway_of(
    backend: MiniBackend, directory: Path, clock: Clock | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway with a spool that has served one post."""
    async with running_gateway(backend, clock, spool="on", data_dir=directory) as gateway:
        await store(gateway)
        yield gateway


async def store(gateway: httpx.AsyncClient) -> None:
    """Posts what the backend stores at once."""
    assert (await gateway.post(URL, data=FIELDS)).status_code == 200


async def promise(
    gateway: httpx.AsyncClient, fields: Mapping[str, str] = FIELDS, **body: Any
) -> str:
    """Posts what is spooled; its id."""
    answer = await gateway.post(URL, data=fields, **body)
    assert answer.status_code == 202
    return str(answer.json()["id"])


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def until_reachable(gateway: httpx.AsyncClient) -> None:
    async with asyncio.timeout(10):
        while (await gateway.get("/readyz")).json()["backend"] != "reachable":
            await asyncio.sleep(0.01)


def is_poison(item: Submission) -> bool:
    return "poison" in item.payload


async def until_failed_again(backend: MiniBackend) -> None:
    failed = backend.failed_batches
    await until(lambda: backend.failed_batches > failed)


def fail_reading(monkeypatch: pytest.MonkeyPatch, number: int, times: int) -> list[OSError]:
    """Has so many readings of spooled files fail; those that are left."""
    failures = [OSError(number, os.strerror(number)) for _ in range(times)]
    read = spool_files._read

    def read_or_fail(path: Path, offset: int) -> bytes:
        if failures:
            raise failures.pop()
        return read(path, offset)

    monkeypatch.setattr(spool_files, "_read", read_or_fail)
    return failures


async def test_a_post_is_promised_and_stored_when_the_backend_is_back(tmp_path: Path) -> None:
    backend = backend_with()
    async with gateway_of(backend, tmp_path) as gateway:
        backend.is_down = True
        answer = await gateway.post(URL, data=FIELDS)
        assert (answer.status_code, answer.headers["formflow-queued"]) == (202, "true")
        assert (await gateway.get("/readyz")).status_code == 200
        backend.is_down = False
        await until(lambda: len(backend.submissions) == 2)
        assert backend.submissions[1].id == answer.json()["id"]
        assert backend.submissions[1].is_promised
        await until(lambda: not waiting(tmp_path))
        assert (await gateway.post(URL, data=FIELDS)).status_code == 200


async def test_a_browser_sees_its_thanks(tmp_path: Path) -> None:
    backend = backend_with()
    async with gateway_of(backend, tmp_path) as gateway:
        backend.is_down = True
        answer = await gateway.post(URL, data=FIELDS, headers={"accept": "text/html"})
        assert answer.status_code == 202
        assert "Thank you" in answer.text


async def test_a_post_that_may_have_arrived_is_stored_once(tmp_path: Path) -> None:
    backend = backend_with()
    async with gateway_of(backend, tmp_path) as gateway:
        backend.drops_answers = 2
        answer = await gateway.post(URL, data=FIELDS)
        assert answer.status_code == 202
        await until(lambda: not waiting(tmp_path))
    assert [item.id for item in backend.submissions].count(answer.json()["id"]) == 1


async def test_what_is_promised_outlives_the_gateway(tmp_path: Path) -> None:
    backend = backend_with()
    async with gateway_of(backend, tmp_path) as gateway:
        backend.is_down = True
        promised = {(await gateway.post(URL, data=FIELDS)).json()["id"] for _ in range(20)}
    async with running_gateway(backend, spool="on", data_dir=tmp_path) as gateway:
        assert (await gateway.post(URL, data=FIELDS)).status_code == 202
        backend.is_down = False
        await until(lambda: len(backend.submissions) == 22)
    assert promised < {item.id for item in backend.submissions}


async def test_a_key_has_one_submission_through_the_outage(tmp_path: Path) -> None:
    backend = backend_with()
    keyed = {"idempotency-key": "order-7"}
    async with gateway_of(backend, tmp_path) as gateway:
        backend.is_down = True
        first = await gateway.post(URL, data=FIELDS, headers=keyed)
        again = await gateway.post(URL, data=FIELDS, headers=keyed)
        assert again.json()["id"] == first.json()["id"]
        assert again.headers["idempotency-replayed"] == "true"
    async with running_gateway(backend, spool="on", data_dir=tmp_path) as gateway:
        later = await gateway.post(URL, data=FIELDS, headers=keyed)
        assert (later.status_code, later.json()["id"]) == (202, first.json()["id"])
        backend.is_down = False
        await until(lambda: len(backend.submissions) == 2)


async def test_files_wait_with_their_submission(tmp_path: Path) -> None:
    backend = backend_with()
    backend.forms["contact"] = form_config(has_quota=False, file_bytes=1_000_000)
    files = [("cv", ("a.txt", b"small")), ("cv", ("b.bin", b"large" * 50_000))]
    async with gateway_of(backend, tmp_path) as gateway:
        backend.is_down = True
        assert (await gateway.post(URL, data=FIELDS, files=files)).status_code == 202
        backend.is_down = False
        await until(lambda: len(backend.submissions) == 2)
    keys = [file.object_key for file in backend.submissions[1].files]
    assert [backend.files[key] for key in keys] == [b"small", b"large" * 50_000]


async def test_without_a_lease_nothing_is_promised_for_an_account_with_a_quota(
    tmp_path: Path,
) -> None:
    backend = backend_with(has_quota=True)
    async with gateway_of(backend, tmp_path) as gateway:
        backend.is_down = True
        assert (await gateway.post(URL, data=FIELDS)).status_code == 503


async def test_a_lease_covers_as_many_posts_as_it_has_units(tmp_path: Path) -> None:
    backend = backend_with(has_quota=True)
    account_id = backend.forms["contact"].account_id
    backend.leases = [Lease("lease_1", account_id, 2, 4_102_444_800_000)]
    async with running_gateway(backend, spool="on", data_dir=tmp_path) as gateway:
        await until(lambda: bool(backend.statements))
        assert (await gateway.post(URL, data=FIELDS)).status_code == 200
        backend.is_down = True
        answers = [await gateway.post(URL, data=FIELDS) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [202, 202, 503]
        backend.is_down = False
        await until(lambda: len(backend.submissions) == 3)
    assert [item.lease_id for item in backend.submissions] == [None, "lease_1", "lease_1"]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("status", [400, 500, 503])
async def test_a_backend_that_fails_for_long_costs_no_promise(tmp_path: Path, status: int) -> None:
    backend = backend_with()
    async with gateway_of(backend, tmp_path) as gateway:
        backend.is_down = True
        promised = [await promise(gateway) for _ in range(3)]
        backend.status, backend.is_down = status, False
        calls = backend.calls[internal.SUBMISSIONS]
        await until(lambda: backend.calls[internal.SUBMISSIONS] >= calls + 12)
        assert (await gateway.get("/readyz")).json()["backend"] == "away"
        assert (await gateway.post(URL, data=FIELDS)).status_code == 202
        backend.status = None
        await until(lambda: not waiting(tmp_path))
    assert set(promised) < {item.id for item in backend.submissions}
    assert summary_of(tmp_path).rejected_count == 0


@pytest.mark.usefixtures("quick")
async def test_a_backend_that_answers_and_stores_nothing_costs_no_promise(tmp_path: Path) -> None:
    backend = backend_with()
    async with gateway_of(backend, tmp_path) as gateway:
        backend.fails_on = lambda item: True
        promised = []
        for _ in range(12):
            promised.append(await promise(gateway))
            await until_failed_again(backend)
        backend.fails_on = lambda item: False
        await until(lambda: not waiting(tmp_path))
    assert set(promised) < {item.id for item in backend.submissions}
    assert summary_of(tmp_path).rejected_count == 0


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("at", [0, 1, 3])
async def test_a_submission_that_the_backend_fails_on_is_set_aside_and_the_others_are_stored(
    tmp_path: Path, at: int
) -> None:
    backend = backend_with()
    backend.fails_on = is_poison
    async with gateway_of(backend, tmp_path) as gateway:
        backend.is_down = True
        promised = [await promise(gateway, POISON if n == at else FIELDS) for n in range(4)]
        backend.is_down = False
        await until_reachable(gateway)
        async with asyncio.timeout(10):
            while waiting(tmp_path):
                assert (await gateway.post(URL, data=FIELDS)).is_success
                await asyncio.sleep(0.01)
    stored = {item.id for item in backend.submissions}
    assert stored.issuperset({*promised} - {promised[at]})
    assert promised[at] not in stored
    assert summary_of(tmp_path).rejected_count == 1


@pytest.mark.usefixtures("quick")
async def test_one_that_was_failed_on_for_a_while_is_stored_all_the_same(tmp_path: Path) -> None:
    backend = backend_with()
    backend.fails_on = is_poison
    async with gateway_of(backend, tmp_path) as gateway:
        promised = await promise(gateway, POISON)
        await until_reachable(gateway)
        for _ in range(4):
            await store(gateway)
            await until_failed_again(backend)
        backend.fails_on = lambda item: False
        await until(lambda: not waiting(tmp_path))
    assert promised in {item.id for item in backend.submissions}
    assert summary_of(tmp_path).rejected_count == 0


@pytest.mark.usefixtures("quick")
async def test_one_alone_that_the_backend_fails_on_is_kept_and_keeps_nobody_out(
    tmp_path: Path,
) -> None:
    backend = backend_with()
    # For an account without a lease nothing is spooled.
    backend.forms["quota"] = form_config(id="frm_2", slug="quota", account_id="a", has_quota=True)
    backend.fails_on = is_poison
    async with gateway_of(backend, tmp_path) as gateway:
        await promise(gateway, POISON)
        await until_reachable(gateway)
        for _ in range(12):
            await until_failed_again(backend)
        assert (waiting(tmp_path), summary_of(tmp_path).rejected_count) == (1, 0)
        assert (await gateway.post("/v1/f/quota", data=FIELDS)).status_code == 200


@pytest.mark.parametrize("others", [0, 2])
async def test_a_damaged_file_is_set_aside_with_its_submission_and_the_rest_goes_on(
    tmp_path: Path, others: int
) -> None:
    backend = backend_with()
    async with gateway_of(backend, tmp_path) as gateway:
        backend.is_down = True
        damaged = await promise(gateway, files=[("cv", ("a.txt", b"as it was"))])
        (spooled_files(tmp_path) / damaged / "0").write_bytes(b"otherwise")
        whole = [
            await promise(gateway, files=[("cv", ("b.txt", b"as it was"))]) for _ in range(others)
        ]
        backend.is_down = False
        await until(lambda: not waiting(tmp_path))
        await until_reachable(gateway)
        await store(gateway)
        metrics = (await gateway.get("/metrics")).text.splitlines()
        assert "formflow_spool_rejected 1.0" in metrics
    stored = {item.id for item in backend.submissions}
    assert stored.issuperset(whole)
    assert damaged not in stored
    assert (spooled_files(tmp_path) / damaged / "0").read_bytes() == b"otherwise"


async def test_a_file_that_cannot_be_read_once_is_stored_when_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = backend_with()
    async with gateway_of(backend, tmp_path) as gateway:
        backend.is_down = True
        promised = [await promise(gateway, files=[("cv", ("a", b"1"))]), await promise(gateway)]
        failures = fail_reading(monkeypatch, errno.EMFILE, times=2)
        backend.is_down = False
        await until(lambda: not waiting(tmp_path))
    assert not failures
    assert set(promised) < {item.id for item in backend.submissions}
    assert summary_of(tmp_path).rejected_count == 0


@pytest.mark.usefixtures("quick")
async def test_a_file_that_can_never_be_read_is_set_aside_after_some_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = backend_with()
    async with gateway_of(backend, tmp_path) as gateway:
        backend.is_down = True
        unreadable = await promise(gateway, files=[("cv", ("a", b"1"))])
        other = await promise(gateway)
        failures = fail_reading(monkeypatch, errno.EIO, times=1_000)
        backend.is_down = False
        await until(lambda: not waiting(tmp_path))
    assert len(failures) < 1_000 - 5
    assert summary_of(tmp_path).rejected_count == 1
    stored = {item.id for item in backend.submissions}
    assert other in stored
    assert unreadable not in stored


async def test_what_the_backend_refuses_is_set_aside_and_the_rest_goes_on(tmp_path: Path) -> None:
    backend = backend_with()
    async with gateway_of(backend, tmp_path) as gateway:
        backend.is_down = True
        await gateway.post(URL, data=FIELDS)
        backend.refuse_with = "form-not-found"
        backend.is_down = False
        await until(lambda: not waiting(tmp_path))
        backend.refuse_with = None
        assert (await gateway.post(URL, data=FIELDS)).status_code == 200
    assert summary_of(tmp_path).rejected_count == 1


def summary_of(directory: Path) -> SpoolSummary:
    return inspect(directory / "spool" / "0")


def waiting(directory: Path) -> int:
    return summary_of(directory).count


def spooled_files(directory: Path) -> Path:
    return directory / "spool" / "0" / "files"


async def test_metrics_tell_of_the_outage(tmp_path: Path) -> None:
    backend = backend_with()
    async with gateway_of(backend, tmp_path) as gateway:
        backend.is_down = True
        await gateway.post(URL, data=FIELDS)
        metrics = (await gateway.get("/metrics")).text.splitlines()
        assert "formflow_backend_away 1.0" in metrics
        assert "formflow_spool_submissions 1.0" in metrics
        assert 'formflow_posts_total{outcome="queued"} 1.0' in metrics
        backend.is_down = False
        await until(lambda: not waiting(tmp_path))


async def test_a_full_spool_refuses_before_the_body_is_read(tmp_path: Path) -> None:
    backend = backend_with()
    async with running_gateway(backend, spool="on", data_dir=tmp_path, spool_max_mb=1) as gateway:
        await gateway.post(URL, data=FIELDS)
        backend.is_down = True
        large = FIELDS | {"message": "x" * 9_000}
        answers = [(await gateway.post(URL, data=large)).status_code for _ in range(140)]
        assert answers[0] == 202
        assert answers[-1] == 503
        assert sorted(answers) == answers
        assert (await gateway.get("/readyz")).status_code == 503


async def test_a_gateway_that_hears_no_feed_is_not_ready(tmp_path: Path) -> None:
    backend, clock = backend_with(), ManualClock()
    async with gateway_of(backend, tmp_path, clock) as gateway:
        backend.cut_feed()
        clock.advance(9.5)
        assert (await gateway.get("/readyz")).status_code == 200
        clock.advance(0.5)
        answer = await gateway.get("/readyz")
        assert (answer.status_code, answer.json()["reasons"]) == (503, ["feed silent"])
        metrics = (await gateway.get("/metrics")).text.splitlines()
        assert "formflow_feed_silent_seconds 10.0" in metrics


@pytest.mark.parametrize(("spool", "status"), [("on", 200), ("off", 503)])
async def test_while_the_backend_is_away_only_a_gateway_with_a_spool_is_ready(
    tmp_path: Path, spool: str, status: int
) -> None:
    backend, clock = backend_with(), ManualClock()
    async with running_gateway(backend, clock, spool=spool, data_dir=tmp_path) as gateway:
        await store(gateway)
        backend.go_away()
        posted = await gateway.post(URL, data=FIELDS)
        clock.advance(60)
        answer = await gateway.get("/readyz")
    assert posted.status_code == (202 if spool == "on" else 503)
    assert answer.status_code == status
    assert answer.json()["reasons"] == ([] if spool == "on" else ["feed silent"])
