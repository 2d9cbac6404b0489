"""The spool in good weather: what is put in comes out once, in order, within its bounds."""

import asyncio
import hashlib
import sqlite3
import stat
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from contracts.ids import new_id
from contracts.submissions import StoredFile, Submission
from gateway.spool.contents import read
from gateway.spool.rows import Refusal
from gateway.spool.spool import AlreadySpooled, Spool, SpoolFailed, SpoolLocked
from gateway.spool.summary import inspect
from tests.support.builders import NOW_MS, submission
from tests.support.clock import ManualClock

MIB = 1024**2

pytestmark = pytest.mark.asyncio


async def open_spool(
    directory: Path,
    *,
    bytes_max: int = 1024 * MIB,
    free_bytes_min: int = 0,
    clock: ManualClock | None = None,
) -> Spool:
    return await Spool.open(
        directory,
        bytes_max=bytes_max,
        free_bytes_min=free_bytes_min,
        clock=clock or ManualClock(),
    )


@asynccontextmanager
async def opened(
    directory: Path,
    *,
    bytes_max: int = 1024 * MIB,
    free_bytes_min: int = 0,
    clock: ManualClock | None = None,
) -> AsyncIterator[Spool]:
    spool = await open_spool(
        directory, bytes_max=bytes_max, free_bytes_min=free_bytes_min, clock=clock
    )
    try:
        yield spool
    finally:
        await spool.close()


def with_files(*contents: bytes) -> Submission:
    return submission(
        files=tuple(
            StoredFile(
                new_id("fil", NOW_MS),
                "cv",
                f"{index}.txt",
                len(content),
                "text/plain",
                hashlib.sha256(content).hexdigest(),
                f"frm_1/2026/05/sub_1/{index}-{index}.txt",
            )
            for index, content in enumerate(contents)
        )
    )


async def sequences(spool: Spool) -> list[int]:
    return [spooled.sequence for spooled in await spool.oldest(1_000, MIB)]


async def submissions(spool: Spool) -> list[Submission]:
    return [spooled.submission for spooled in await spool.oldest(1_000, MIB)]


def names_in(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


async def test_what_was_put_in_comes_out_in_order_after_a_restart(tmp_path: Path) -> None:
    first = submission(payload='{"a":"☃\\u0000"}', key_id="k", idempotency_key="i", fingerprint="f")
    async with opened(tmp_path / "spool") as spool:
        assert await spool.put(first, "lea_1") is None
        rest = [submission() for _ in range(500)]
        assert set(await asyncio.gather(*(spool.put(each, None) for each in rest))) == {None}
    async with opened(tmp_path / "spool") as spool:
        found = await spool.oldest(1_000, 10 * MIB)
    assert [spooled.submission for spooled in found] == [first, *rest]
    assert [spooled.lease_id for spooled in found] == ["lea_1"] + [None] * 500
    assert [spooled.sequence for spooled in found] == sorted(spooled.sequence for spooled in found)


async def test_what_is_not_settled_stays(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        for _ in range(3):
            await spool.put(submission(), None)
        first, second, third = await sequences(spool)
        await spool.settle([second, 99, second])
        await spool.settle([])
        assert (await sequences(spool), spool.count) == ([first, third], 2)
        await spool.settle([first, third])
        assert (await sequences(spool), spool.count, spool.bytes) == ([], 0, 0)


async def test_a_sequence_is_not_used_twice(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        await spool.put(submission(), None)
        done = await sequences(spool)
        await spool.settle(done)
        await spool.put(submission(), None)
        await spool.settle(done)
        assert spool.count == 1


async def test_a_drain_takes_as_much_as_it_asks_for_but_at_least_one(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        for _ in range(4):
            await spool.put(submission(payload="x" * 1_000), None)
        assert len(await spool.oldest(3, MIB)) == 3
        assert len(await spool.oldest(4, 3_000)) == 2
        assert len(await spool.oldest(4, 1)) == 1


async def test_a_key_is_bound_to_the_first_submission_until_it_is_settled(tmp_path: Path) -> None:
    first = submission(idempotency_key="k", fingerprint="f1", received_at=NOW_MS + 1)
    bound = AlreadySpooled(first.id, NOW_MS + 1, "f1")
    async with opened(tmp_path) as spool:
        assert await spool.put(first, None) is None
        assert await spool.put(submission(idempotency_key="k", fingerprint="f2"), None) == bound
        assert await spool.find("frm_1", "k") == bound
        assert await spool.find("frm_1", "other") is None
        assert await spool.put(submission(form_id="frm_2", idempotency_key="k"), None) is None
        assert spool.count == 2
        await spool.settle(await sequences(spool))
        assert await spool.find("frm_1", "k") is None
        assert await spool.put(submission(idempotency_key="k"), None) is None


async def test_of_posts_with_one_key_at_once_one_is_stored(tmp_path: Path) -> None:
    posts = [submission(idempotency_key="k") for _ in range(20)]
    async with opened(tmp_path) as spool:
        results = await asyncio.gather(*(spool.put(post, None) for post in posts))
        [stored] = await submissions(spool)
    assert [result.submission_id if result else stored.id for result in results] == [stored.id] * 20
    assert results.count(None) == 1


async def test_what_is_rejected_is_out_of_the_way_and_kept(tmp_path: Path) -> None:
    clock = ManualClock()
    first, second = submission(idempotency_key="k"), submission()
    async with opened(tmp_path, clock=clock) as spool:
        await spool.put(first, "lea_1")
        await spool.put(second, None)
        size = spool.bytes
        clock.advance(60)
        await spool.reject((await sequences(spool))[0], "form-not-found", "Gone.")
        await spool.reject(99, "form-not-found", "Gone.")
        assert await submissions(spool) == [second]
        assert (spool.count, spool.rejected_count) == (1, 1)
        assert spool.bytes < size
        assert await spool.put(submission(idempotency_key="k"), None) is None
    async with opened(tmp_path, clock=clock) as spool:
        [row] = read(tmp_path, "rejected")
        assert (spool.count, spool.rejected_count) == (2, 1)
    assert row is not None
    assert (row.submission_id, row.form_id, row.lease_id) == (first.id, "frm_1", "lea_1")
    assert row.refusal == Refusal(NOW_MS + 60_000, "form-not-found", "Gone.")
    assert (row.received_at, row.submission) == (NOW_MS, first)


async def test_the_age_is_that_of_the_first(tmp_path: Path) -> None:
    clock = ManualClock()
    async with opened(tmp_path, clock=clock) as spool:
        assert spool.oldest_age_seconds == 0
        await spool.put(submission(received_at=clock.now_ms()), None)
        clock.advance(10)
        await spool.put(submission(received_at=clock.now_ms()), None)
        assert spool.oldest_age_seconds == 10
        await spool.settle((await sequences(spool))[:1])
        assert spool.oldest_age_seconds == 0
        clock.advance(-60)
        assert spool.oldest_age_seconds == 0


async def test_nobody_else_sees_into_it(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "spool"
    async with opened(directory) as spool:
        await spool.put(with_files(b"a"), None, [b"a"])
        modes = {stat.S_IMODE(path.stat().st_mode): path.is_dir() for path in directory.rglob("*")}
        assert (stat.S_IMODE(directory.stat().st_mode), modes) == (
            0o700,
            {0o700: True, 0o600: False},
        )


async def test_a_caller_that_goes_away_stops_nothing(tmp_path: Path) -> None:
    post = with_files(b"a")
    async with opened(tmp_path) as spool:
        for each, contents in ((post, [b"a"]), (submission(), [])):
            caller = asyncio.create_task(spool.put(each, None, contents))
            await asyncio.sleep(0)
            caller.cancel()
            await asyncio.gather(caller, return_exceptions=True)
    async with opened(tmp_path) as spool:
        assert spool.count == 2
        assert len(await submissions(spool)) == 2


async def test_text_that_cannot_be_encoded_harms_nobody_else(tmp_path: Path) -> None:
    posts: Sequence[Submission] = [submission(), submission(form_id="\ud800"), submission()]
    async with opened(tmp_path) as spool:
        results = await asyncio.gather(
            *(spool.put(post, None) for post in posts), return_exceptions=True
        )
        assert [isinstance(result, TypeError) for result in results] == [False, True, False]
        assert (spool.count, spool.is_failed) == (2, False)


async def test_a_second_opener_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        with pytest.raises(SpoolLocked, match="in use by another process"):
            await open_spool(tmp_path)
        await spool.put(submission(), None)
    async with opened(tmp_path) as spool:
        assert spool.count == 1


async def test_a_closed_spool_takes_nothing(tmp_path: Path) -> None:
    spool = await open_spool(tmp_path)
    pending = [asyncio.ensure_future(spool.put(submission(), None)) for _ in range(10)]
    await asyncio.sleep(0)
    await spool.close()
    await spool.close()
    assert [task.exception() for task in pending] == [None] * 10
    with pytest.raises(SpoolFailed):
        await spool.put(submission(), None)
    assert (spool.has_room, spool.count) == (False, 10)


async def test_a_database_that_somebody_else_holds_is_waited_for_but_not_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.spool.database.LOCKED_SECONDS", 0.01)
    async with opened(tmp_path) as spool:
        other = sqlite3.connect(tmp_path / "spool.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(SpoolFailed):
            await spool.put(submission(), None)
        other.close()
        assert not spool.is_failed
        await spool.put(submission(), None)


async def test_whoever_looks_from_outside_sees_the_same_and_changes_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        await spool.put(with_files(b"a"), None, [b"a"])
        await spool.put(submission(), None)
        await spool.reject(1, "bad-body", "")
        before = _contents(tmp_path)
        summary = inspect(tmp_path)
        assert _contents(tmp_path) == before
        assert (summary.count, summary.bytes) == (spool.count, spool.bytes)
        assert (summary.rejected_count, summary.oldest_received_at) == (1, NOW_MS)
        assert (summary.is_in_use, summary.problem, summary.set_aside) == (True, None, ())
        await spool.put(submission(), None)
    before = _contents(tmp_path)
    summary = inspect(tmp_path)
    assert _contents(tmp_path) == before
    assert (summary.count, summary.is_in_use) == (2, False)
    assert inspect(tmp_path / "nowhere").count == 0


def _contents(directory: Path) -> dict[str, bytes]:
    """All but the index of the log: memory that SQLite's readers share."""
    return {
        str(path): path.read_bytes() if path.suffix != ".db-shm" else b""
        for path in directory.rglob("*")
        if path.is_file()
    }
