"""Spools of workers that there are no more are drained by the first one that runs."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from contracts.runtime.settings import load_settings
from contracts.submissions import Submission
from gateway.app import Gateway
from gateway.holder import read_holder
from gateway.spool.summary import inspect
from tests.gateway.test_spool import opened, with_files
from tests.support.builders import form_config, submission
from tests.support.gateways import running_gateway
from tests.support.mini_backend import TOKEN, MiniBackend

pytestmark = pytest.mark.asyncio


@pytest.fixture(autouse=True)
def no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two looks it waits for no longer than a loop's turn or a few."""
    monkeypatch.setattr("gateway.left_behind._LOOK_SECONDS", 0.01)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def fill(directory: Path, *submissions: Submission, lease_id: str | None = None) -> None:
    async with opened(directory) as spool:
        for each in submissions:
            contents = [bytes(file.size) for file in each.files]
            await spool.put(each, lease_id, contents)


def ids(backend: MiniBackend) -> list[str]:
    return [each.id for each in backend.submissions]


async def until_level(gateway: httpx.AsyncClient, count: int) -> None:
    """Returns when the gateway's metrics say that so much is left behind."""
    line = f"formflow_spool_left_behind_submissions {float(count)}"
    async with asyncio.timeout(10):
        while line not in (await gateway.get("/metrics")).text.splitlines():
            await asyncio.sleep(0.01)


async def test_what_is_left_behind_is_delivered_with_its_files_and_leases_are_given_back(
    tmp_path: Path,
) -> None:
    backend = MiniBackend(forms={"contact": form_config()})
    first, second = submission(lease_id="lease_1"), with_files(bytes(3))
    third = submission()
    await fill(tmp_path / "spool" / "2", first, lease_id="lease_1")
    await fill(tmp_path / "spool" / "2", second)
    await fill(tmp_path / "spool" / "7", third)
    holder = read_holder(tmp_path / "spool" / "2")
    async with running_gateway(backend, spool="on", data_dir=tmp_path):
        await until(lambda: len(ids(backend)) == 3)
        await until(lambda: not inspect(tmp_path / "spool" / "7").is_in_use)
        assert [inspect(tmp_path / "spool" / name).count for name in "27"] == [0, 0]
    assert ids(backend) == [first.id, second.id, third.id]
    assert list(backend.files.values()) == [bytes(3)]
    stated = [statement for statement in backend.statements if statement.holder == holder]
    assert stated[-1].ended == {"lease_1": 0}


async def test_leases_of_an_empty_spool_are_given_back_once(tmp_path: Path) -> None:
    backend = MiniBackend()
    await fill(tmp_path / "spool" / "1")
    holder = read_holder(tmp_path / "spool" / "1")

    def statements() -> int:
        return sum(statement.holder == holder for statement in backend.statements)

    async with running_gateway(backend, spool="on", data_dir=tmp_path) as gateway:
        await until(lambda: statements() > 0)
        await until(lambda: not inspect(tmp_path / "spool" / "1").is_in_use)
        said = statements()
        # What comes later is looked for all the same, and delivered.
        late = submission()
        await fill(tmp_path / "spool" / "1", late)
        await until(lambda: ids(backend) == [late.id])
        assert (await gateway.get("/livez")).status_code == 200
    assert said == 1


async def test_a_spool_of_a_worker_that_is_to_come_is_left_alone(tmp_path: Path) -> None:
    backend = MiniBackend()
    await fill(tmp_path / "spool" / "1", submission())
    await fill(tmp_path / "spool" / "2", submission())
    async with started(backend, tmp_path, worker=1, workers=2):
        # This one is of the second worker, that one nobody's; yet only the first worker cares.
        await until(lambda: len(ids(backend)) == 1)
    assert inspect(tmp_path / "spool" / "2").count == 1
    await fill(tmp_path / "spool" / "1", submission())
    async with started(backend, tmp_path, worker=0, workers=2):
        await until(lambda: len(ids(backend)) == 2)
    assert [inspect(tmp_path / "spool" / name).count for name in "12"] == [1, 0]


async def test_a_spool_in_use_is_left_to_whoever_has_it(tmp_path: Path) -> None:
    backend = MiniBackend()
    other = submission()
    await fill(tmp_path / "spool" / "5", other)
    async with opened(tmp_path / "spool" / "3") as spool:
        await spool.put(submission(), None)
        async with running_gateway(backend, spool="on", data_dir=tmp_path):
            await until(lambda: ids(backend) == [other.id])
        assert spool.count == 1


async def test_while_the_backend_is_away_everything_stays(tmp_path: Path) -> None:
    backend = MiniBackend()
    backend.go_away()
    left = submission()
    await fill(tmp_path / "spool" / "1", left)
    async with running_gateway(backend, spool="on", data_dir=tmp_path) as gateway:
        await until(lambda: backend.calls.total() > 3)
        assert inspect(tmp_path / "spool" / "1").count == 1
        await until_level(gateway, 1)
        backend.is_down = False
        await until(lambda: ids(backend) == [left.id])
        await until_level(gateway, 0)


async def test_a_spool_that_fails_keeps_no_other_from_being_drained(
    tmp_path: Path,
) -> None:
    backend = MiniBackend()
    left = submission()
    (tmp_path / "spool" / "1" / "spool.db").mkdir(parents=True)
    await fill(tmp_path / "spool" / "2", left)
    async with running_gateway(backend, spool="on", data_dir=tmp_path) as gateway:
        await until(lambda: ids(backend) == [left.id])
        assert (await gateway.get("/readyz")).status_code == 200


@asynccontextmanager
async def started(
    backend: MiniBackend, directory: Path, *, worker: int, workers: int
) -> AsyncIterator[Gateway]:
    settings = load_settings(
        environ={}, internal_token=TOKEN, log_level="error", data_dir=directory
    )
    gateway = Gateway(settings, transport=backend.transport(), worker=worker, workers=workers)
    async with gateway.running():
        yield gateway
