"""A bucket that fails, hangs, loses answers or objects is an outage, and nothing is half there."""

import hashlib
import os
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
import pytest_asyncio

import backend.files
from backend.files import BucketFiles, create_file_store
from backend.management import Services
from backend.sweeper import Sweeper
from contracts.problems import Problem, Rejected
from contracts.runtime.clock import SystemClock
from contracts.runtime.settings import load_settings
from contracts.small_files import SmallFile
from tests.backend.file_builders import get, new_key, put
from tests.support.clock import ManualClock
from tests.support.s3 import Fault, S3Proxy, bucket_environment, s3_proxy, s3_server

HOUR_MS = 3600 * 1000
TWELVE_MIB = 12 * 1024**2
FAULTS: tuple[Fault, ...] = ("500", "403", "lost-answer", "hang")
pytestmark = pytest.mark.asyncio


@pytest.fixture(scope="module")
def server_url() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest_asyncio.fixture
async def proxy(server_url: str) -> AsyncIterator[S3Proxy]:
    async with s3_proxy(server_url) as proxy:
        yield proxy


@pytest.fixture
def store(proxy: S3Proxy, server_url: str, monkeypatch: pytest.MonkeyPatch) -> BucketFiles:
    """A new bucket, behind the proxy; one that hangs is given up soon."""
    for name, value in bucket_environment(proxy.url).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(backend.files, "_REQUEST_SECONDS", 1)
    monkeypatch.setattr(backend.files, "_RETRY_SECONDS", 1)
    bucket = f"bucket-{os.urandom(4).hex()}"
    httpx.put(f"{server_url}/{bucket}").raise_for_status()
    store = create_file_store(load_settings(environ={}, files_url=f"s3://{bucket}/in/here"))
    assert isinstance(store, BucketFiles)
    return store


async def keys_of(store: BucketFiles) -> list[str]:
    later = SystemClock().now_ms() + HOUR_MS
    return [key async for batch in store.keys_before(later) for key in batch]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("size", [100, TWELVE_MIB])
async def test_a_file_that_may_not_be_there_is_not_said_to_be(
    store: BucketFiles, proxy: S3Proxy, fault: Fault, size: int
) -> None:
    key, data = new_key(), os.urandom(size)
    proxy.fault = fault
    with pytest.raises(Rejected) as caught:
        await put(store, key, data)
    assert caught.value.problem is Problem.UNAVAILABLE
    assert int(caught.value.headers["Retry-After"]) > 0
    proxy.fault = None
    assert await keys_of(store) in ([], [key])
    await put(store, key, data)
    assert await get(store, key) == data


@pytest.mark.parametrize("fault", FAULTS)
async def test_of_small_files_none_is_said_to_be_there_either(
    store: BucketFiles, proxy: S3Proxy, fault: Fault
) -> None:
    files = [SmallFile(new_key(), hashlib.sha256(b"x").hexdigest(), b"x") for _ in range(5)]
    proxy.fault = fault
    with pytest.raises(Rejected) as caught:
        await store.put_all(files)
    assert caught.value.problem is Problem.UNAVAILABLE
    proxy.fault = None
    await store.put_all(files)
    assert sorted(await keys_of(store)) == sorted(file.object_key for file in files)


@pytest.mark.parametrize("fault", FAULTS)
async def test_whoever_reads_deletes_or_lists_is_told_of_an_outage(
    store: BucketFiles, proxy: S3Proxy, fault: Fault
) -> None:
    key = new_key()
    await put(store, key, b"data")
    proxy.fault = fault
    for call in (store.get(key), store.delete([key]), keys_of(store)):
        with pytest.raises(Rejected) as caught:
            await call
        assert caught.value.problem is Problem.UNAVAILABLE


async def test_a_failure_that_passes_is_not_noticed(store: BucketFiles, proxy: S3Proxy) -> None:
    key = new_key()
    proxy.fault, proxy.faults_left = "500", 1
    await put(store, key, b"data")
    assert proxy.methods["PUT"] == 2
    assert await get(store, key) == b"data"


async def test_a_file_whose_answer_was_lost_is_swept(
    store: BucketFiles, proxy: S3Proxy, services: Services
) -> None:
    key, clock = new_key(), ManualClock(SystemClock().now_ms())
    proxy.fault = "lost-answer"
    with pytest.raises(Rejected):
        await put(store, key, b"data")
    proxy.fault = None
    assert await keys_of(store) == [key]
    sweeper = Sweeper(services.database, store, clock)
    assert await sweeper.sweep_files() == 0
    clock.advance(2 * HOUR_MS / 1000)
    proxy.fault = "500"
    await sweeper.sweep()
    proxy.fault = None
    assert await keys_of(store) == [key]
    await sweeper.sweep()
    assert await keys_of(store) == []


async def test_an_object_that_vanishes_is_no_file_and_an_outage_for_its_reader(
    store: BucketFiles,
) -> None:
    key, data = new_key(), os.urandom(100_000)
    await put(store, key, data)
    found = await store.get(key)
    assert found is not None
    await store.delete([key])
    with pytest.raises(Rejected) as caught:
        await anext(found.chunks)
    assert caught.value.problem is Problem.UNAVAILABLE
    assert await store.get(key) is None
