"""What holds of every file store, a local directory or a bucket."""

import asyncio
import errno
import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from backend.files import (
    BadKey,
    BucketFiles,
    ContentMismatch,
    FileStore,
    LocalFiles,
    create_file_store,
)
from contracts.problems import Problem, Rejected
from contracts.runtime.clock import SystemClock
from contracts.runtime.settings import load_settings
from contracts.small_files import SmallFile
from tests.backend.file_builders import files_below, get, new_key, pieces, put
from tests.support.s3 import bucket_environment, s3_server

HOUR_MS = 3600 * 1000
TWELVE_MIB = 12 * 1024**2
pytestmark = pytest.mark.asyncio


async def keys_before(store: FileStore, time_ms: int) -> list[str]:
    return [key async for batch in store.keys_before(time_ms) for key in batch]


@pytest.fixture(scope="module")
def s3_endpoint() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture
def bucket(s3_endpoint: str) -> str:
    """The name of a new bucket."""
    name = f"bucket-{os.urandom(4).hex()}"
    httpx.put(f"{s3_endpoint}/{name}").raise_for_status()
    return name


@pytest.fixture
def bucket_files(bucket: str, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> BucketFiles:
    for name, value in bucket_environment(s3_endpoint).items():
        monkeypatch.setenv(name, value)
    store = create_file_store(load_settings(environ={}, files_url=f"s3://{bucket}/in/here"))
    assert isinstance(store, BucketFiles)
    return store


@pytest.fixture(params=["local", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> FileStore:
    if request.param == "local":
        return create_file_store(load_settings(environ={}, files_url=f"file://{tmp_path}/a%20b"))
    in_bucket: BucketFiles = request.getfixturevalue("bucket_files")
    return in_bucket


@pytest.mark.parametrize("size", [0, 1, 20_000, 65_536, 5 * 1024**2, TWELVE_MIB])
async def test_a_file_comes_out_as_it_went_in(store: FileStore, size: int) -> None:
    data, key = os.urandom(size), new_key()
    await put(store, key, data)
    assert await get(store, key) == data
    await put(store, key, data)
    assert await get(store, key) == data


@pytest.mark.parametrize(
    "name",
    ["CON", "%00", "%2e%2e%2f", "a b#?&=+.txt", "é你👩‍💻", "[x]~`{}|^\"<>*:;,$'!@()", "x" * 200],
)
async def test_a_naughty_name_is_a_name_like_any_other(store: FileStore, name: str) -> None:
    key = new_key(name)
    await put(store, key, name.encode())
    assert await get(store, key) == name.encode()
    assert await keys_before(store, SystemClock().now_ms() + HOUR_MS) == [key]


async def test_what_is_deleted_is_gone_and_may_be_deleted_again(store: FileStore) -> None:
    keys = [new_key() for _ in range(3)]
    for key in keys:
        await put(store, key, b"x")
    await store.delete([])
    for _ in range(2):
        await store.delete(keys[:2])
    assert [await get(store, key) for key in keys] == [None, None, b"x"]


async def test_only_old_files_are_listed(store: FileStore) -> None:
    assert await keys_before(store, SystemClock().now_ms()) == []
    key = new_key()
    await put(store, key, b"x")
    now_ms = SystemClock().now_ms()
    assert await keys_before(store, now_ms + HOUR_MS) == [key]
    assert await keys_before(store, now_ms - HOUR_MS) == []


@pytest.mark.parametrize("size", [100, TWELVE_MIB])
@pytest.mark.parametrize("fault", [{"sha256": "0" * 64}, {"size": 99}, {"size": TWELVE_MIB + 1}])
async def test_bytes_that_are_not_those_announced_are_not_stored(
    store: FileStore, size: int, fault: dict[str, Any]
) -> None:
    with pytest.raises(ContentMismatch):
        await put(store, new_key(), b"x" * size, **fault)
    assert await keys_before(store, SystemClock().now_ms() + HOUR_MS) == []


@pytest.mark.parametrize("size", [100, TWELVE_MIB])
async def test_of_a_file_that_breaks_off_nothing_is_kept(store: FileStore, size: int) -> None:
    async def breaking_off() -> AsyncIterator[bytes]:
        async for piece in pieces(b"x" * size):
            yield piece
        raise EOFError("gone")

    with pytest.raises(EOFError):
        await store.put(new_key(), breaking_off(), size, "0" * 64)
    assert await keys_before(store, SystemClock().now_ms() + HOUR_MS) == []


@pytest.mark.parametrize(
    "key",
    ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/", "./a", ".x", "a/\0", "a\\b", "a/" * 500]
    + ["x" * 240],
)
async def test_no_key_leads_out_of_the_store(store: FileStore, tmp_path: Path, key: str) -> None:
    with pytest.raises(BadKey):
        await put(store, key, b"x")
    with pytest.raises(BadKey):
        await store.get(key)
    with pytest.raises(BadKey):
        await store.delete([key])
    assert files_below(tmp_path) == []


def small(data: bytes, key: str | None = None) -> SmallFile:
    return SmallFile(key or new_key(), hashlib.sha256(data).hexdigest(), data)


async def test_files_that_come_together_are_stored_each_under_its_key(store: FileStore) -> None:
    files = [small(os.urandom(size)) for size in (0, 1, 20_000, 65_536) * 5]
    await store.put_all([])
    for _ in range(2):
        await store.put_all(files)
    assert [await get(store, file.object_key) for file in files] == [file.data for file in files]
    listed = await keys_before(store, SystemClock().now_ms() + HOUR_MS)
    assert sorted(listed) == sorted(file.object_key for file in files)


async def test_of_files_that_come_together_none_is_stored_that_is_not_as_announced(
    store: FileStore,
) -> None:
    wrong = SmallFile(new_key(), "0" * 64, b"data")
    with pytest.raises(ContentMismatch):
        await store.put_all([small(b"x"), wrong, small(b"y")])
    assert await get(store, wrong.object_key) is None
    with pytest.raises(BadKey):
        await store.put_all([small(b"x", "../x")])


class Disk:
    """What was asked of the disk, in order: ``(call, path)``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[str, str]] = []
        fsync, mkdir, replace = os.fsync, os.mkdir, os.replace

        def recording_fsync(descriptor: int) -> None:
            path = os.readlink(f"/proc/self/fd/{descriptor}")
            fsync(descriptor)
            self.calls.append(("fsync", path))

        def recording_mkdir(path: str, mode: int) -> None:
            mkdir(path, mode)
            self.calls.append(("mkdir", path))

        def recording_replace(source: str, target: str) -> None:
            self.calls.append(("replace", str(target)))
            replace(source, target)

        monkeypatch.setattr(os, "fsync", recording_fsync)
        monkeypatch.setattr(os, "mkdir", recording_mkdir)
        monkeypatch.setattr(os, "replace", recording_replace)

    def check_durable(self, path: Path, root: Path) -> None:
        """Fails unless the bytes were synced before they had a name, and then the name, and every
        directory made on the way after it was made."""
        named = self.calls.index(("replace", str(path)))
        assert any(
            call == "fsync" and synced.startswith(f"{path}.") and synced.endswith(".part")
            for call, synced in self.calls[:named]
        )
        assert ("fsync", str(path.parent)) in self.calls[named:]
        for directory in [d for d in path.parents if d.is_relative_to(root)]:
            made = self.calls.index(("mkdir", str(directory)))
            assert ("fsync", str(directory.parent)) in self.calls[made:]


@pytest.mark.parametrize("is_small", [True, False])
async def test_when_a_put_returns_bytes_and_names_are_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_small: bool
) -> None:
    root, disk = tmp_path / "a" / "files", Disk(monkeypatch)
    store, files = LocalFiles(root), [small(os.urandom(100)) for _ in range(20)]
    if is_small:
        await store.put_all(files)
    else:
        monkeypatch.setattr(Path, "replace", lambda path, target: os.replace(path, target))
        for file in files:
            await put(store, file.object_key, file.data)
    for file in files:
        disk.check_durable(root / file.object_key, root)


def directories_of(disk: Disk, root: Path) -> list[str]:
    """The directories above that of the submission which were synced, below the root."""
    return [
        Path(path).relative_to(root).as_posix()
        for call, path in disk.calls
        if call == "fsync" and Path(path).is_relative_to(root) and "sub_" not in path
    ]


async def test_directories_are_synced_again_only_when_they_are_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, disk = tmp_path / "files", Disk(monkeypatch)
    store, first, second = LocalFiles(root), new_key(), new_key()
    form, month = first.partition("/")[0], first.split("/sub_")[0]
    second = f"{month}/{second.split('/', 3)[3]}"
    await store.put_all([small(b"x", first)])
    disk.calls.clear()
    await store.put_all([small(b"y", second)])
    assert directories_of(disk, root) == [month]
    disk.calls.clear()
    shutil.rmtree(root / form)
    await store.put_all([small(b"y", second)])
    disk.check_durable(root / second, root / form)
    disk.calls.clear()
    await LocalFiles(root).put_all([small(b"x", first)])
    assert directories_of(disk, root) == [month, f"{form}/1970", form, "."]


async def test_a_directory_that_goes_with_its_file_is_new_when_it_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, disk = tmp_path / "files", Disk(monkeypatch)
    store = LocalFiles(root)
    await store.put_all([small(b"x", "a/b/c/1")])
    await store.delete(["a/b/c/1"])
    await store.put_all([small(b"x", "a/b/1")])
    await store.delete(["a/b/1"])
    assert not (root / "a/b").exists()
    disk.calls.clear()
    await store.put_all([small(b"x", "a/b/c/1")])
    disk.check_durable(root / "a/b/c/1", root / "a/b")


async def test_files_put_at_once_hold_few_descriptors(tmp_path: Path) -> None:
    store, before = LocalFiles(tmp_path), len(os.listdir("/proc/self/fd"))
    puts = [store.put_all([small(b"x" * 60_000) for _ in range(64)]) for _ in range(4)]
    waiting = asyncio.gather(*puts)
    most = 0
    while not waiting.done():
        most = max(most, len(os.listdir("/proc/self/fd")) - before)
        await asyncio.sleep(0.001)
    await waiting
    assert most <= 20


async def test_a_small_file_that_cannot_be_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    store = LocalFiles(tmp_path)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Rejected) as caught:
        await store.put_all([small(b"x"), small(b"y")])
    assert caught.value.problem is Problem.UNAVAILABLE
    assert files_below(tmp_path) == []


async def test_a_multipart_upload_that_fails_is_aborted(
    bucket: str, bucket_files: BucketFiles, s3_endpoint: str
) -> None:
    with pytest.raises(ContentMismatch):
        await put(bucket_files, new_key(), b"x" * TWELVE_MIB, sha256="0" * 64)
    async with httpx.AsyncClient() as http:
        assert "<Upload>" not in (await http.get(f"{s3_endpoint}/{bucket}?uploads")).text


async def test_a_store_that_cannot_be_used_is_an_outage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bucket_files: BucketFiles
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    stores = (LocalFiles(tmp_path / "file"), BucketFiles("s3://bucket"))
    for broken in stores:
        for call in (
            put(broken, new_key(), b"x"),
            put(broken, new_key(), b"x" * TWELVE_MIB),
            broken.put_all([small(b"x"), small(b"y")]),
        ):
            with pytest.raises(Rejected) as caught:
                await call
            assert caught.value.problem is Problem.UNAVAILABLE


async def test_the_files_are_in_the_data_directory_by_default(tmp_path: Path) -> None:
    store = create_file_store(load_settings(environ={}, data_dir=str(tmp_path)))
    await put(store, new_key(), b"x")
    [path] = files_below(tmp_path)
    assert path.relative_to(tmp_path).parts[0] == "files"
    assert path.stat().st_mode & 0o077 == 0
