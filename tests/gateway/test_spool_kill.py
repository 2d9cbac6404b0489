"""Processes with a spool, killed: what they have acknowledged is there, once."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.spool.spool import Spool, SpoolLocked
from gateway.spool.summary import inspect
from tests.gateway.test_spool import MIB, open_spool, opened, with_files
from tests.support.builders import submission

_ROOT = Path(__file__).parents[2]


def child(work: str, *arguments: str) -> list[str]:
    """The command that runs a function of this module in a process of its own."""
    code = f"import sys; from {__name__} import {work}; {work}(*sys.argv[1:])"
    return [sys.executable, "-c", code, *arguments]


def say(line: str) -> None:
    os.write(1, line.encode() + b"\n")


def post_and_drain(directory: str) -> None:
    """Puts from 16 callers and settles behind them, saying each when it is acknowledged."""

    async def put(spool: Spool) -> None:
        for number in range(1_000_000):
            post = with_files(b"a") if number % 50 == 7 else submission(payload="x" * 500)
            await spool.put(post, None, [b"a"] if post.files else [])
            say(f"+ {post.id}")

    async def drain(spool: Spool) -> None:
        while True:
            if spool.count > 100:
                found = await spool.oldest(20, MIB)
                ids = " ".join(spooled.submission.id for spooled in found)
                say(f"? {ids}")
                await spool.settle([spooled.sequence for spooled in found])
                say(f"- {ids}")
            await asyncio.sleep(0)

    async def main() -> None:
        spool = await open_spool(Path(directory))
        await asyncio.gather(drain(spool), *(put(spool) for _ in range(16)))

    asyncio.run(main())


def until_killed(directory: Path, lines: int) -> list[str]:
    """What a child has said, that was killed after that many lines."""
    command = child("post_and_drain", str(directory))
    with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(lines)]
        process.kill()
        # The last line may be cut.
        return said + [line for line in process.stdout if line.endswith("\n")]


def ids_in(said: list[str], mark: str) -> set[str]:
    return {name for line in said if line.startswith(mark) for name in line[2:].split()}


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    said = [line for lines in (50, 400, 1_000) for line in until_killed(tmp_path, lines)]

    async def read() -> list[str]:
        async with opened(tmp_path) as spool:
            found = [spooled.submission.id for spooled in await spool.oldest(100_000, 1_000 * MIB)]
            assert (spool.count, spool.rejected_count) == (len(found), 0)
            assert spool.set_aside == ()
            return found

    found = asyncio.run(read())
    assert len(found) == len(set(found))
    # What was to be settled at the kill may be gone.
    assert ids_in(said, "+") - ids_in(said, "?") <= set(found)
    assert not ids_in(said, "-") & set(found)


def hold(directory: str) -> None:
    """Holds a spool and does nothing."""

    async def main() -> None:
        await open_spool(Path(directory))
        say("held")
        await asyncio.Event().wait()

    asyncio.run(main())


def test_the_lock_goes_with_the_process(tmp_path: Path) -> None:
    with subprocess.Popen(child("hold", str(tmp_path)), cwd=_ROOT, stdout=subprocess.PIPE) as held:
        assert held.stdout is not None
        assert held.stdout.readline() == b"held\n"
        with pytest.raises(SpoolLocked):
            asyncio.run(open_spool(tmp_path))
        assert inspect(tmp_path).is_in_use
        held.kill()
    assert asyncio.run(count(tmp_path)) == 0


async def count(directory: Path) -> int:
    async with opened(directory) as spool:
        return spool.count
