"""When the snapshot is written, and what a gateway that starts from one knows."""

import threading
from pathlib import Path

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from contracts.internal import ChangesAnswer
from contracts.problems import Problem, Rejected
from gateway.config.snapshot import Snapshot, SnapshotFile
from gateway.config.snapshot_keeper import SnapshotKeeper
from tests.gateway.test_forms import status_of, until
from tests.support.builders import form_config
from tests.support.clock import ManualClock
from tests.support.gateways import running_gateway
from tests.support.known import BEARER, KEY, Process, backend_with_form_and_key, leave_snapshot
from tests.support.mini_backend import TOKEN, MiniBackend

DAY = 24 * 3600.0

pytestmark = pytest.mark.asyncio


@pytest.fixture
def backend() -> MiniBackend:
    return backend_with_form_and_key()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest_asyncio.fixture
async def path(backend: MiniBackend, clock: ManualClock, tmp_path: Path) -> Path:
    """The snapshot of a process that has ended."""
    path = tmp_path / "state" / "config.snapshot"
    await leave_snapshot(backend, clock, path)
    return path


async def test_a_gateway_that_starts_while_the_backend_is_away_takes_posts(
    backend: MiniBackend, tmp_path: Path
) -> None:
    bearer = {"authorization": BEARER.decode()}
    backend.forms["contact"] = form_config(has_quota=False)
    async with running_gateway(backend, data_dir=tmp_path) as gateway:
        assert await status_of(gateway, **bearer) == 200
    backend.go_away()
    async with running_gateway(backend, data_dir=tmp_path, spool="on") as gateway:
        assert (await gateway.get("/readyz")).status_code == 200
        assert await status_of(gateway, **bearer) == 202
        assert await status_of(gateway, "unknown", **bearer) == 503


async def test_forms_and_keys_survive_a_restart_without_the_backend(
    backend: MiniBackend, clock: ManualClock, path: Path
) -> None:
    backend.go_away()
    clock.advance(3600)
    process = Process(backend, clock, path)
    await process.keeper.load()
    assert process.keeper.was_loaded
    await process.learn()


async def test_what_was_saved_is_fresh_as_soon_as_the_feed_says_what_changed(
    backend: MiniBackend, clock: ManualClock, path: Path
) -> None:
    process = Process(backend, clock, path)
    await process.keeper.load()
    await process.hear()
    await process.learn()
    assert (len(backend.lookups), len(backend.verified)) == (1, 1)


async def test_what_was_saved_is_looked_up_again_before_the_feed_is_heard(
    backend: MiniBackend, clock: ManualClock, path: Path
) -> None:
    process = Process(backend, clock, path)
    await process.keeper.load()
    await process.learn()
    await until(lambda: (len(backend.lookups), len(backend.verified)) == (2, 2))


async def test_a_change_made_while_the_gateway_was_down_is_heard(
    backend: MiniBackend, clock: ManualClock, path: Path
) -> None:
    backend.change("contact", None)
    backend.revoke(KEY.text)
    process = Process(backend, clock, path)
    await process.keeper.load()
    await process.hear()
    assert (len(process.forms), len(process.keys)) == (0, 0)


async def test_a_backend_restored_while_the_gateway_was_down_is_asked_again(
    backend: MiniBackend, clock: ManualClock, path: Path
) -> None:
    backend.restore("epoch-2")
    process = Process(backend, clock, path)
    await process.keeper.load()
    await process.hear()
    await process.learn()
    await until(lambda: (len(backend.lookups), len(backend.verified)) == (2, 2))


async def test_what_a_reset_left_stale_is_not_fresh_after_a_restart(
    backend: MiniBackend, clock: ManualClock, path: Path
) -> None:
    process = Process(backend, clock, path)
    await process.keeper.load()
    backend.go_away()
    process.forms.apply(ChangesAnswer("epoch-1", 1, True, {}, ()))
    process.keys.apply(ChangesAnswer("epoch-1", 1, True, {}, ()))
    await process.keeper.save()
    backend.is_down = False
    heir = Process(backend, clock, path)
    await heir.keeper.load()
    await heir.hear()
    await until(lambda: len(backend.lookups) == 2)


@pytest.mark.parametrize("outages", [[DAY - 1], [DAY / 2, DAY / 2 - 1], [3600.0] * 23])
async def test_restarts_during_an_outage_do_not_make_a_form_younger(
    backend: MiniBackend, clock: ManualClock, path: Path, outages: list[float]
) -> None:
    backend.go_away()
    for seconds in outages:
        clock.advance(seconds)
        process = Process(backend, clock, path)
        await process.keeper.load()
        await process.keeper.save()
    await process.learn()
    clock.advance(DAY - sum(outages) + 1)
    for ended in (process, Process(backend, clock, path)):
        await ended.keeper.load()
        with pytest.raises(Rejected) as caught:
            await ended.forms.resolve("contact")
        assert caught.value.problem is Problem.UNAVAILABLE


@pytest.mark.parametrize("step", [-365 * DAY, -3600.0, 3600.0])
async def test_a_step_of_the_wall_clock_makes_no_age_negative(
    backend: MiniBackend, path: Path, step: float
) -> None:
    backend.go_away()
    stepped = ManualClock(1_780_000_000_000 + round(step * 1000))
    process = Process(backend, stepped, path)
    await process.keeper.load()
    await process.learn()
    stepped.advance(DAY)
    with pytest.raises(Rejected):
        await process.forms.resolve("contact")


async def test_without_a_file_nothing_is_said(
    backend: MiniBackend, clock: ManualClock, tmp_path: Path
) -> None:
    process = Process(backend, clock, tmp_path / "none")
    with capture_logs() as lines:
        await process.keeper.load()
    assert (lines, process.keeper.was_loaded) == ([], False)


async def test_a_gateway_that_knows_nothing_overwrites_nothing(
    backend: MiniBackend, clock: ManualClock, path: Path
) -> None:
    before = path.read_bytes()
    backend.go_away()
    process = Process(backend, clock, path, "another-internal-token")
    await process.keeper.load()
    await process.keeper.save()
    assert path.read_bytes() == before


async def test_it_is_written_on_change_and_every_few_seconds_at_most(
    backend: MiniBackend, clock: ManualClock, tmp_path: Path
) -> None:
    process = Process(backend, clock, tmp_path / "config.snapshot")
    await process.hear()
    clock.advance(5)
    assert not process.keeper.is_due
    await process.learn()
    assert process.keeper.is_due
    await process.keeper.save()
    process.forms.apply(ChangesAnswer("epoch-1", 2, False, {"contact": None}, ()))
    assert not process.keeper.is_due
    clock.advance(5)
    assert process.keeper.is_due
    await process.keeper.save()
    clock.advance(599)
    assert not process.keeper.is_due
    clock.advance(1)
    assert process.keeper.is_due


async def test_it_is_written_outside_the_thread_of_the_loop(
    backend: MiniBackend, clock: ManualClock, path: Path
) -> None:
    threads: list[threading.Thread] = []

    class Watched(SnapshotFile):
        def write(self, snapshot: Snapshot) -> int:
            threads.append(threading.current_thread())
            return super().write(snapshot)

    process = Process(backend, clock, path)
    keeper = SnapshotKeeper(Watched(path, TOKEN), process.forms, process.keys, process.feed, clock)
    await process.hear()
    await keeper.save()
    assert threads not in ([], [threading.main_thread()])


async def test_a_disk_that_fails_is_said_once_and_tried_again(
    backend: MiniBackend, clock: ManualClock, tmp_path: Path
) -> None:
    in_the_way = tmp_path / "state"
    in_the_way.write_bytes(b"not a directory")
    process = Process(backend, clock, in_the_way / "config.snapshot")
    await process.hear()
    await process.learn()
    with capture_logs() as lines:
        for _ in range(3):
            await process.keeper.save()
    assert [line["event"] for line in lines] == ["snapshot cannot be written"]
    in_the_way.unlink()
    clock.advance(5)
    assert process.keeper.is_due
    await process.keeper.save()
    assert (in_the_way / "config.snapshot").exists()
