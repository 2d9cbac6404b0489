"""The spool on a disk that is full or fails: no acknowledgement that does not hold."""

import asyncio
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.spool.directory import RESERVE_BYTES
from gateway.spool.spool import Spool, SpoolError, SpoolFailed, SpoolFull
from tests.gateway.test_spool import MIB, open_spool, opened, with_files
from tests.support.builders import submission

_ROOT = Path(__file__).parents[2]
# The checks of the disk's space are to pass, so that its end is met in writing.
_NO_CHECK = -(2**60)
# What a child says, among its log lines.
_MARK = ">"


def run_child(work: str, *arguments: str, prefix: Sequence[str] = ()) -> list[str]:
    """The lines that a function of this module says, run in a process of its own."""
    code = f"import sys; from {__name__} import {work}; {work}(*sys.argv[1:])"
    child = subprocess.run(
        [*prefix, sys.executable, "-c", code, *arguments],
        cwd=_ROOT,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    )
    return [line[1:] for line in child.stdout.splitlines() if line.startswith(_MARK)]


def say(line: str) -> None:
    os.write(1, f"{_MARK}{line}\n".encode())


async def put_until_failure(spool: Spool) -> None:
    """Says each id that is acknowledged, then what it failed with, twice."""
    try:
        for number in range(10_000):
            post = submission(payload="x" * 30_000) if number % 10 else with_files(b"a")
            await spool.put(post, None, [b"a"] if post.files else [])
            say(f"+{post.id}")
    except SpoolError as error:
        say(type(error).__name__)
    try:
        await spool.put(submission(), None)
    except SpoolError as error:
        say(f"{type(error).__name__} {spool.is_failed} {spool.has_room}")


def put_until_a_file_may_not_grow(directory: str) -> None:
    async def main() -> None:
        async with opened(Path(directory)) as spool:
            await put_until_failure(spool)

    resource.setrlimit(resource.RLIMIT_FSIZE, (RESERVE_BYTES, RESERVE_BYTES))
    asyncio.run(main())


def put_until_fsync_fails(directory: str) -> None:
    async def main() -> None:
        spool = await open_spool(Path(directory), free_bytes_min=_NO_CHECK)
        await put_until_failure(spool)
        os._exit(0)

    asyncio.run(main())


async def acknowledged_are_there(directory: Path, said: list[str]) -> bool:
    async with opened(directory) as spool:
        found = [each.submission.id for each in await spool.oldest(100_000, 1_000 * MIB)]
    acknowledged = [line[1:] for line in said if line.startswith("+")]
    # One more may be there, whose commit ended in the failure.
    return found[: len(acknowledged)] == acknowledged and len(found) <= len(acknowledged) + 1


def test_after_an_error_of_the_disk_nothing_is_acknowledged(tmp_path: Path) -> None:
    said = run_child("put_until_a_file_may_not_grow", str(tmp_path))
    assert said[-2:] == ["SpoolFailed", "SpoolFailed True False"]
    assert len(said) > 100
    assert asyncio.run(acknowledged_are_there(tmp_path, said))


def can_inject() -> bool:
    strace = shutil.which("strace")
    return strace is not None and not subprocess.run([strace, "-o", "/dev/null", "true"]).returncode


@pytest.mark.parametrize(
    ("call", "number"), [("fdatasync", 6), ("fdatasync", 20), ("fsync", 6), ("pwrite64", 50)]
)
def test_after_a_failure_of_one_call_nothing_is_acknowledged(
    tmp_path: Path, call: str, number: int
) -> None:
    if not can_inject():
        pytest.skip("strace is not there, or may not trace")

    async def fill() -> None:
        async with opened(tmp_path) as spool:
            await spool.put(submission(), None)
            await spool.settle([1])

    # The calls of a first start are another matter.
    asyncio.run(fill())
    inject = ["strace", "-f", "-o", "/dev/null", "-e", f"inject={call}:error=EIO:when={number}"]
    said = run_child("put_until_fsync_fails", str(tmp_path), prefix=inject)
    assert said[-2:] == ["SpoolFailed", "SpoolFailed True False"]
    assert said[0].startswith("+")
    assert asyncio.run(acknowledged_are_there(tmp_path, said))


def fill_a_small_disk(mount: str) -> None:
    """In a mount namespace of its own: a disk of 40 MiB, full, drained, with space again."""
    mount_command = ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", mount]
    if subprocess.run(mount_command).returncode:
        say("no mount")
        return
    directory, ballast = Path(mount) / "spool", Path(mount) / "ballast"
    asyncio.run(_fill_a_small_disk(directory, ballast))
    say("ok")


async def _fill_a_small_disk(directory: Path, ballast: Path) -> None:
    spool = await open_spool(directory, free_bytes_min=_NO_CHECK)
    for number in range(20):
        await spool.put(submission(payload="x" * 10_000, idempotency_key=str(number)), None)
    _fill(ballast)
    while not await _is_full(spool):
        pass
    count = spool.count
    # It starts on a full disk, too, and what was acknowledged can be drained there.
    await spool.close()
    spool = await open_spool(directory, free_bytes_min=_NO_CHECK)
    assert (spool.count, spool.is_failed) == (count, False)
    await spool.reject(1, "bad-body", "")
    _fill(ballast)
    while found := await spool.oldest(256, MIB):
        await spool.settle([spooled.sequence for spooled in found])
    assert (spool.count, spool.rejected_count, spool.is_failed) == (0, 1, False)
    ballast.unlink()
    await spool.put(submission(), None)
    assert (spool.has_room, spool.count) == (True, 1)
    assert (directory / "spool.reserve").stat().st_size == RESERVE_BYTES
    await spool.close()


async def _is_full(spool: Spool) -> bool:
    results = await asyncio.gather(
        *(spool.put(submission(payload="x" * 10_000), None) for _ in range(30)),
        return_exceptions=True,
    )
    assert not any(isinstance(result, SpoolFailed) for result in results)
    return any(isinstance(result, SpoolFull) for result in results)


def _fill(ballast: Path) -> None:
    """Writes until there is no space left."""
    with ballast.open("ab", buffering=0) as file:
        for piece in (bytes(MIB), bytes(4096), b"0"):
            try:
                while file.write(piece) == len(piece):
                    pass
            except OSError:
                continue


def test_a_full_disk_refuses_drains_and_recovers(tmp_path: Path) -> None:
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rm", "true"]).returncode:
        pytest.skip("no mount namespace without root")
    prefix = [unshare, "-rm"]
    said = run_child("fill_a_small_disk", str(tmp_path), prefix=prefix)
    if said[-1] == "no mount":
        pytest.skip("no tmpfs may be mounted")
    assert said[-1] == "ok"
