"""Files of spooled submissions: moved in, handed out, and gone with their submission."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.spool.spool import SpoolFailed, SpoolFull
from tests.gateway.test_spool import MIB, names_in, opened, with_files
from tests.support.builders import submission

pytestmark = pytest.mark.asyncio


async def test_files_are_moved_in_and_leave_with_their_submission(tmp_path: Path) -> None:
    staged = tmp_path / "staged"
    large = os.urandom(200_000)
    staged.write_bytes(large)
    post = with_files(large, b"", b"small")
    async with opened(tmp_path / "spool") as spool:
        await spool.put(post, None, [staged, b"", b"small"])
        assert not staged.exists()
        assert spool.bytes > 200_005
    async with opened(tmp_path / "spool") as spool:
        [spooled] = await spool.oldest(1, 1)
        contents = [b"".join([chunk async for chunk in file.chunks()]) for file in spooled.files]
        assert contents == [large, b"", b"small"]
        assert tuple(file.stored for file in spooled.files) == post.files
        assert [file.sha256 for file in spooled.files] == [file.sha256 for file in post.files]
        await spool.settle([spooled.sequence])
        assert names_in(tmp_path / "spool" / "files") == []


async def test_rejected_files_are_kept(tmp_path: Path) -> None:
    post = with_files(b"a")
    async with opened(tmp_path) as spool:
        await spool.put(post, None, [b"a"])
        await spool.reject(1, "form-not-found", "")
    async with opened(tmp_path):
        assert (tmp_path / "files" / post.id / "0").read_bytes() == b"a"


@pytest.mark.parametrize("problem", ["key", "bytes", "staged"])
async def test_a_submission_that_is_not_stored_leaves_no_files(
    tmp_path: Path, problem: str
) -> None:
    (tmp_path / "staged").write_bytes(b"a" if problem != "staged" else b"")
    async with opened(tmp_path / "spool", bytes_max=100 if problem == "bytes" else MIB) as spool:
        post = with_files(b"a", b"b")
        contents: list[Path | bytes] = [b"b", tmp_path / "staged"]
        if problem == "staged":
            (tmp_path / "staged").unlink()
        if problem == "key":
            await spool.put(submission(idempotency_key="k"), None)
            post = replace(post, idempotency_key="k")
            assert await spool.put(post, None, contents) is not None
        else:
            with pytest.raises(SpoolFull if problem == "bytes" else SpoolFailed):
                await spool.put(post, None, contents)
        assert names_in(tmp_path / "spool" / "files") == []
        assert not spool.is_failed


async def test_a_submission_brings_the_files_that_it_names(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        with pytest.raises(ValueError, match="0 contents for 1 files"):
            await spool.put(with_files(b"a"), None)


async def test_a_file_that_cannot_be_looked_at_keeps_no_others_from_going(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        stuck, good = with_files(b"a"), with_files(b"b")
        await spool.put(stuck, None, [b"a"])
        await spool.put(good, None, [b"b"])
        file = tmp_path / "files" / stuck.id / "0"
        file.unlink()
        file.symlink_to(file)
        first, second = await spool.oldest(2, MIB)
        assert (first.submission.id, second.submission.id) == (stuck.id, good.id)
        with pytest.raises(OSError, match="symbolic links"):
            await first.files[0].is_whole()
        assert await second.files[0].is_whole()
        assert not spool.is_failed
