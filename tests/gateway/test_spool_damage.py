"""A spool's files, damaged: the gateway starts, and what it hands out is what was put in."""

import asyncio
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from contracts.submissions import Submission
from gateway.spool.spool import Spool
from gateway.spool.summary import inspect
from tests.gateway.test_spool import MIB, opened, submissions, with_files
from tests.support.builders import submission

PAGE_BYTES = 4096
POSTS = [
    submission(payload="x" * 1_000 * (n % 12), idempotency_key=f"k{n}" if n % 2 else None)
    for n in range(40)
]
LOST_LOG = "20260528T202640Z"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a spool whose process was killed: half in the database, half in the log."""
    running, directory = (tmp_path_factory.mktemp(name) for name in ("running", "original"))

    async def fill() -> None:
        half = len(POSTS) // 2
        async with opened(running) as spool:
            await put_all(spool, POSTS[:half])
        async with opened(running) as spool:
            await put_all(spool, POSTS[half:])
            for path in running.glob("spool.db*"):
                shutil.copy(path, directory)

    asyncio.run(fill())
    assert (directory / "spool.db-wal").stat().st_size > 10 * PAGE_BYTES
    return directory


async def put_all(spool: Spool, posts: list[Submission]) -> None:
    for post in posts:
        await spool.put(post, "lea_1")


@pytest.fixture
def directory(original: Path, tmp_path: Path) -> Path:
    return shutil.copytree(original, tmp_path / "spool")


async def works(directory: Path) -> tuple[list[Submission], Spool]:
    """What a spool hands out, after it has shown that it takes, keeps and settles."""
    async with opened(directory) as spool:
        found = await submissions(spool)
        new = submission()
        await spool.put(new, None)
        spooled = await spool.oldest(1_000, MIB)
        assert spooled[-1].submission == new
        assert spool.count == len(spooled)
        await spool.settle([each.sequence for each in spooled])
        assert (spool.count, spool.bytes, await spool.oldest(1, 1)) == (0, 0, [])
        return found, spool


def flip(path: Path, chance: random.Random, bytes_flipped: int) -> None:
    content = bytearray(path.read_bytes())
    start = chance.randrange(0, len(content))
    for offset in range(start, min(start + bytes_flipped, len(content))):
        content[offset] ^= chance.randrange(1, 256)
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["spool.db", "spool.db-wal", "spool.db-shm"])
@pytest.mark.parametrize("seed", range(4))
def test_flipped_bytes_are_never_handed_out(
    original: Path, tmp_path: Path, name: str, seed: int
) -> None:
    chance = random.Random(f"{name} {seed}")
    for number in range(8):
        directory = shutil.copytree(original, tmp_path / str(number))
        for _ in range(chance.randint(1, 3)):
            flip(directory / name, chance, chance.choice([1, 4, 100, 2 * PAGE_BYTES]))
        found, spool = asyncio.run(works(directory))
        assert [post for post in POSTS if post in found] == found
        is_lost = len(found) < len(POSTS)
        assert not is_lost or spool.set_aside or spool.rejected_count


@pytest.mark.parametrize("first", range(5))
def test_each_byte_of_the_header_may_be_damaged(original: Path, tmp_path: Path, first: int) -> None:
    chance = random.Random(first)
    for offset in range(first, 100, 5):
        directory = shutil.copytree(original, tmp_path / str(offset))
        (directory / "spool.db-wal").unlink()
        content = bytearray((directory / "spool.db").read_bytes())
        content[offset] ^= chance.randrange(1, 256)
        (directory / "spool.db").write_bytes(content)
        found, _ = asyncio.run(works(directory))
        assert all(post in POSTS for post in found)


def zero_length(path: Path) -> None:
    path.write_bytes(b"")


def garbage(path: Path) -> None:
    path.write_bytes(random.Random(1).randbytes(50_000))


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: 3 * PAGE_BYTES + 100])


def of_another_version(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 2")
    connection.close()


def of_another_program(path: Path) -> None:
    path.unlink()
    path.with_name("spool.db-wal").unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE letters (id INTEGER)")
    connection.close()


def with_another_table(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("ALTER TABLE spool RENAME COLUMN document TO other")
    connection.close()


def with_an_index_that_misses_a_row(path: Path) -> None:
    """It could never be deleted: SQLite would find the index corrupt at each attempt."""
    swap = "UPDATE sqlite_master SET sql = replace(sql, ?, ?) WHERE type = 'index'"
    add = (
        "INSERT INTO spool SELECT 1000, size, file_count, received_at, id, form_id, 'new', "
        "fingerprint, lease_id, checksum, document FROM spool LIMIT 1"
    )
    for statement, what in (
        (swap, ("IS NOT NULL", "IS NULL")),
        (add, ()),
        (swap, ("IS NULL", "IS NOT NULL")),
    ):
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA writable_schema = ON")
            connection.execute(statement, what)
        connection.close()


@pytest.mark.parametrize(
    "damage",
    [
        zero_length,
        Path.unlink,
        garbage,
        truncated,
        of_another_version,
        of_another_program,
        with_another_table,
        with_an_index_that_misses_a_row,
    ],
)
def test_what_is_no_spool_is_set_aside(directory: Path, damage: Callable[[Path], None]) -> None:
    damage(directory / "spool.db")
    before = {path.name: path.read_bytes() for path in directory.glob("spool.db*")}
    found, spool = asyncio.run(works(directory))
    assert found == []
    aside = {path.name.replace(".bad-" + LOST_LOG, ""): path for path in spool.set_aside}
    assert spool.set_aside == inspect(directory).set_aside != ()
    kept = {name for name in before if not name.endswith("-shm")}
    assert kept <= set(aside)
    assert all(aside[name].read_bytes() == before[name] for name in kept)


def test_nothing_that_was_set_aside_is_overwritten(directory: Path) -> None:
    for _ in range(3):
        (directory / "spool.db").write_bytes(b"garbage")
        asyncio.run(works(directory))
    names = {path.name for path in inspect(directory).set_aside}
    assert {f"spool.db.bad-{LOST_LOG}{more}" for more in ("", "-2", "-3")} <= names


def test_what_was_set_aside_can_still_be_read(directory: Path) -> None:
    of_another_version(directory / "spool.db")
    asyncio.run(works(directory))
    connection = sqlite3.connect(directory / f"spool.db.bad-{LOST_LOG}")
    assert connection.execute("SELECT count(*) FROM spool").fetchone() == (len(POSTS),)
    connection.close()


def test_files_of_a_database_that_is_set_aside_are_kept(tmp_path: Path) -> None:
    post = with_files(b"a")

    async def put() -> None:
        async with opened(tmp_path) as spool:
            await spool.put(post, None, [b"a"])

    asyncio.run(put())
    (tmp_path / "spool.db").write_bytes(b"garbage")
    asyncio.run(works(tmp_path))
    aside = tmp_path / f"spool.db.bad-{LOST_LOG}-files"
    assert (aside / post.id / "0").read_bytes() == b"a"


def test_a_log_that_has_lost_commits_is_kept_beside(directory: Path) -> None:
    log = directory / "spool.db-wal"
    content = bytearray(log.read_bytes())
    content[len(content) // 2] ^= 1
    log.write_bytes(content)
    found, spool = asyncio.run(works(directory))
    assert len(POSTS) // 2 < len(found) < len(POSTS)
    assert POSTS[: len(found)] == found
    [copy] = spool.set_aside
    assert copy.read_bytes() == content


def test_a_submission_without_its_files_is_rejected(tmp_path: Path) -> None:
    lost, cut, whole = (with_files(b"abc") for _ in range(3))

    async def put() -> None:
        async with opened(tmp_path) as spool:
            for post in (lost, cut, whole):
                await spool.put(post, None, [b"abc"])

    asyncio.run(put())
    (tmp_path / "files" / lost.id / "0").unlink()
    (tmp_path / "files" / cut.id / "0").write_bytes(b"ab")
    found, spool = asyncio.run(works(tmp_path))
    assert (found, spool.rejected_count) == ([whole], 2)


def test_what_keeps_the_database_from_being_opened_is_no_damage(directory: Path) -> None:
    (directory / "spool.db-wal").unlink()
    (directory / "spool.db-wal").mkdir()
    with pytest.raises(Exception, match="spool: unable to open database file"):
        asyncio.run(works(directory))
    (directory / "spool.db-wal").rmdir()
    found, spool = asyncio.run(works(directory))
    assert (len(found), spool.set_aside) == (len(POSTS) // 2, ())
