"""How much the spool takes, by its bound and by the disk, and what it gives back."""

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from gateway.spool.directory import RESERVE_BYTES
from gateway.spool.rows import new_row
from gateway.spool.spool import SpoolFull
from tests.gateway.test_spool import MIB, opened, sequences, with_files
from tests.support.builders import submission
from tests.support.clock import ManualClock

pytestmark = pytest.mark.asyncio


async def test_it_takes_no_more_than_its_bound_and_more_when_it_drains(tmp_path: Path) -> None:
    post = submission(payload="x" * 1_000)
    async with opened(tmp_path, bytes_max=3_000) as spool:
        results = await asyncio.gather(
            *(spool.put(post, None) for _ in range(4)), return_exceptions=True
        )
        assert [type(result) for result in results] == [type(None)] * 2 + [SpoolFull] * 2
        assert spool.has_room
        frame = new_row(submission(payload=""), None).size
        await spool.put(submission(payload="x" * (3_000 - spool.bytes - frame)), None)
        assert (spool.bytes, spool.has_room, spool.is_failed) == (3_000, False, False)
        await spool.settle((await sequences(spool))[:1])
        assert spool.has_room
        await spool.put(post, None)


async def test_what_is_rejected_needs_room_too(tmp_path: Path) -> None:
    post = submission(payload="x" * 1_000)
    async with opened(tmp_path, bytes_max=1_500) as spool:
        await spool.put(post, None)
        await spool.reject(1, "bad-body", "")
        with pytest.raises(SpoolFull):
            await spool.put(post, None)


async def test_it_leaves_space_on_the_disk(tmp_path: Path) -> None:
    disk = os.statvfs(tmp_path)
    free = disk.f_bavail * disk.f_frsize
    async with opened(tmp_path, free_bytes_min=2 * free) as spool:
        assert not spool.has_room
        with pytest.raises(SpoolFull):
            await spool.put(submission(), None)
        with pytest.raises(SpoolFull):
            await spool.put(with_files(b"a"), None, [b"a"])
        assert (spool.count, spool.is_failed) == (0, False)
    assert not (tmp_path / "spool.reserve").exists()


async def test_who_asks_for_room_has_the_disk_looked_at_again(tmp_path: Path) -> None:
    clock = ManualClock()
    async with opened(tmp_path, clock=clock) as spool:
        assert spool.has_room
        shutil.rmtree(tmp_path)
        assert spool.has_room
        clock.advance(1)
        assert spool.has_room
        await spool.find("frm_1", "k")
        assert not spool.has_room
        assert not spool.is_failed


async def test_the_file_shrinks_when_it_has_drained(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        await asyncio.gather(
            *(spool.put(submission(payload="x" * 20_000), None) for _ in range(1_500))
        )
        assert (tmp_path / "spool.db-wal").stat().st_size <= 12 * MIB
        while found := await spool.oldest(256, MIB):
            await spool.settle([spooled.sequence for spooled in found])
        assert (tmp_path / "spool.db-wal").stat().st_size <= 12 * MIB
    assert (tmp_path / "spool.db").stat().st_size <= 10 * MIB


async def test_the_reserve_is_taken_once(tmp_path: Path) -> None:
    for _ in range(2):
        async with opened(tmp_path):
            assert (tmp_path / "spool.reserve").stat().st_size == RESERVE_BYTES
    (tmp_path / "spool.reserve").write_bytes(b"short")
    async with opened(tmp_path):
        assert (tmp_path / "spool.reserve").stat().st_size == RESERVE_BYTES
