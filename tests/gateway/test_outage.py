"""While the backend is away: what is promised, and what becomes of it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from contracts.leases import Lease
from gateway.spool.summary import SpoolSummary, inspect
from tests.support.builders import form_config
from tests.support.gateways import running_gateway
from tests.support.mini_backend import MiniBackend

pytestmark = pytest.mark.asyncio

URL = "/v1/f/contact"
FIELDS = {"email": "ada@example.com", "message": "Hello"}


def backend_with(**form: bool) -> MiniBackend:
    return MiniBackend(forms={"contact": form_config(**({"has_quota": False} | form))})


@asynccontextmanager
async def gateway_of(backend: MiniBackend, directory: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway with a spool that has served one post."""
    async with running_gateway(backend, spool="on", data_dir=directory) as gateway:
        assert (await gateway.post(URL, data=FIELDS)).status_code == 200
        yield gateway


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


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
    async with running_gateway(
        backend, spool="on", data_dir=tmp_path, spool_bytes=1_048_576
    ) as gateway:
        await gateway.post(URL, data=FIELDS)
        backend.is_down = True
        large = FIELDS | {"message": "x" * 9_000}
        answers = [(await gateway.post(URL, data=large)).status_code for _ in range(140)]
        assert answers[0] == 202
        assert answers[-1] == 503
        assert sorted(answers) == answers
        assert (await gateway.get("/readyz")).status_code == 503
