"""Background loops: one that dies, however it does, leaves no process that seems well."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import httpx
import pytest

import backend.main as backend_main
import gateway.main as gateway_main
from backend.app import Backend
from contracts.runtime.failure import Failure, Loop, ProcessFailed
from contracts.runtime.settings import load_settings
from gateway.app import Gateway
from tests.faults.fleet import START_SECONDS, faulty_fleet
from tests.faults.spoilt import command
from tests.support.gateways import client_of
from tests.support.mini_backend import TOKEN, MiniBackend

GATEWAY_LOOPS = (
    "the drain",
    "the drain of spools left behind",
    "the feed",
    "the lease keeper",
    "the report of usage",
    "the snapshot",
)
BACKEND_LOOPS = (
    "delivery",
    "the count of API calls",
    "the desk for links to sign in",
    "the indexer",
    "the log of deliveries",
    "the recorder of refused credentials",
    "the recorder of used keys",
    "the recorder of used sessions",
    "the removal of deleted forms",
    "the sweeper",
)
ENDS = {
    "returns": None,
    "MemoryError": MemoryError(),
    "RecursionError": RecursionError("maximum recursion depth exceeded"),
    "SystemExit": SystemExit(0),
    "KeyboardInterrupt": KeyboardInterrupt(),
    "cancelled": asyncio.CancelledError(),
}

Running = Callable[[Path], AbstractAsyncContextManager[httpx.AsyncClient]]


async def loop_that_ends(error: BaseException | None) -> None:
    """A loop that does a little and then ends so."""
    await asyncio.sleep(0)
    if error is not None:
        raise error


async def recurse_for_ever() -> None:
    """A loop that runs out of stack."""
    await recurse_for_ever()


async def sleep_for_ever() -> None:
    """A loop that works until it is cancelled."""
    await asyncio.Event().wait()


async def fail_at_cancellation() -> None:
    """A loop that does not take its end well."""
    try:
        await sleep_for_ever()
    finally:
        raise ValueError("at the end")


def task_named(name: str) -> asyncio.Task[None]:
    """The loop of that name."""
    [task] = [task for task in asyncio.all_tasks() if task.get_name() == name]
    return task


@pytest.mark.asyncio
@pytest.mark.parametrize("end", ENDS)
async def test_a_loop_that_ends_is_a_failure(end: str) -> None:
    failure = Failure()
    async with failure.watching({"the loop": loop_that_ends(ENDS[end])}):
        await failure.wait()
    assert failure.reason is not None
    assert failure.reason.startswith("the loop ")
    assert {"returns": "None", "cancelled": "was cancelled"}.get(end, end) in failure.reason


@pytest.mark.asyncio
async def test_a_loop_without_stack_is_a_failure() -> None:
    failure = Failure()
    async with failure.watching({"the loop": recurse_for_ever()}):
        await failure.wait()
    assert "RecursionError" in str(failure.reason)


@pytest.mark.asyncio
async def test_a_loop_that_is_cancelled_before_it_began_is_a_failure() -> None:
    failure = Failure()
    async with failure.watching({"the loop": sleep_for_ever()}):
        task_named("the loop").cancel()
        await failure.wait()
    assert failure.reason == "the loop was cancelled"


@pytest.mark.asyncio
@pytest.mark.parametrize("loop", [sleep_for_ever, fail_at_cancellation])
async def test_the_end_of_the_block_is_none(loop: Callable[[], Loop]) -> None:
    failure = Failure()
    async with failure.watching({"the loop": loop()}):
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert failure.reason is None
    assert len(asyncio.all_tasks()) == 1


@asynccontextmanager
async def running_gateway(directory: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway with every part that it may have."""
    settings = load_settings(
        environ={}, data_dir=directory, internal_token=TOKEN, spool_min_free_mb=0
    )
    gateway = Gateway(settings, transport=MiniBackend().transport())
    async with gateway.running(), client_of(gateway) as client:
        yield client


@asynccontextmanager
async def running_backend(directory: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a backend."""
    settings = load_settings(
        environ={},
        data_dir=directory,
        internal_token=TOKEN,
        secret_key="a-secret-key-for-tests",
    )
    backend = Backend(settings)
    transport = httpx.ASGITransport(backend)
    async with (
        backend.running(),
        httpx.AsyncClient(transport=transport, base_url="http://backend") as client,
    ):
        yield client


def running_loops() -> set[str]:
    """The names of the tasks that somebody named."""
    names = {task.get_name() for task in asyncio.all_tasks()}
    return {name for name in names if not name.startswith("Task-")}


async def until_ready(client: httpx.AsyncClient) -> None:
    """Returns once the service is ready."""
    async with asyncio.timeout(10.0):
        while (await client.get("/readyz")).status_code != 200:
            await asyncio.sleep(0.005)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("running", "name"),
    [
        *(pytest.param(running_gateway, name, id=f"gateway: {name}") for name in GATEWAY_LOOPS),
        *(pytest.param(running_backend, name, id=f"backend: {name}") for name in BACKEND_LOOPS),
    ],
)
async def test_a_service_without_one_of_its_loops_is_unready(
    tmp_path: Path, running: Running, name: str
) -> None:
    async with running(tmp_path) as client:
        await until_ready(client)
        loop = task_named(name)
        loop.cancel()
        await asyncio.wait([loop])
        await asyncio.sleep(0)
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["status"] == "unready"
        assert (await client.get("/livez")).status_code == 200


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("running", "names"), [(running_gateway, GATEWAY_LOOPS), (running_backend, BACKEND_LOOPS)]
)
async def test_no_loop_of_a_service_is_left_out_here(
    tmp_path: Path, running: Running, names: tuple[str, ...]
) -> None:
    async with running(tmp_path):
        assert running_loops() == set(names)


@pytest.mark.parametrize("service", ["gateway", "backend"])
def test_a_process_whose_loop_dies_ends_badly(tmp_path: Path, service: str) -> None:
    with faulty_fleet(tmp_path, gateways=1) as fleet:
        name = {"gateway": "gateway-0"}.get(service, service)
        # Of itself SystemExit(0) would end it at once, and well.
        fleet.commands[name] = command("loop-dies")
        fleet.spawn(name)
        assert fleet.wait_for_end(name, START_SECONDS) == 1
        assert "SystemExit(0)" in fleet.log(name)


@pytest.mark.asyncio
async def test_a_disk_that_fails_at_the_very_end_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def serve_and_fail(*_: object, failure: Failure, **__: object) -> None:
        failure.set("the disk has failed")

    monkeypatch.setattr(gateway_main, "serve", serve_and_fail)
    monkeypatch.setattr(backend_main, "serve", serve_and_fail)
    settings = load_settings(
        environ={
            "FORMFLOW_DATA_DIR": str(tmp_path),
            "FORMFLOW_INTERNAL_TOKEN": TOKEN,
            "FORMFLOW_SECRET_KEY": "a-secret-key-for-tests",
            "FORMFLOW_BACKEND_URL": "http://127.0.0.1:9",
        }
    )
    await backend_main.run_migrate(settings)
    with socket.socket() as unused:
        for end in (gateway_main.run_gateway, backend_main.run_backend):
            with pytest.raises(ProcessFailed, match="the disk has failed"):
                await end(settings, unused)
