"""The file store of the settings: a local directory, or an S3 bucket through obstore."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote

from obstore.exceptions import BaseError
from obstore.store import S3Store

from backend.file_port import (
    LIST_SIZE,
    BadKey,
    ContentMismatch,
    FileStore,
    StoredObject,
    checked_key,
    store_unavailable,
    verified,
)
from backend.local_files import LocalFiles
from contracts.problems import Rejected
from contracts.runtime.settings import Settings
from contracts.runtime.telemetry import get_logger
from contracts.small_files import SmallFile

__all__ = [
    "BadKey",
    "BucketFiles",
    "ContentMismatch",
    "FileStore",
    "LocalFiles",
    "StoredObject",
    "create_file_store",
    "delete_quietly",
]

_log = get_logger("backend")
_RANGE_BYTES = 4 * 1024**2
# The least that S3 takes for a part; what is no longer goes in one request instead of three.
_PART_BYTES = 5 * 1024**2
_PARTS_AT_ONCE = 2
_CONNECT_SECONDS = 3
_REQUEST_SECONDS = 20
# A request is sent again after failures of the bucket's, but none is begun later than this.
_RETRIES_MAX = 2
_RETRY_SECONDS = 20
# A request may wait for so many deletions; the sweep does the others.
_DELETE_MAX = 1_000


def create_file_store(settings: Settings) -> FileStore:
    """The store that the settings name; it is first used when the first file is."""
    url = settings.files_url
    if url.startswith("s3://"):
        return BucketFiles(url)
    if url:
        return LocalFiles(Path(unquote(url.removeprefix("file://"))))
    return LocalFiles(settings.data_dir / "files")


async def delete_quietly(store: FileStore, keys: Sequence[str]) -> None:
    """Removes the first of these files, whose rows are gone; what fails or is left is swept."""
    try:
        await store.delete(keys[:_DELETE_MAX])
    except Rejected:
        _log.warning("files left for the sweep", count=len(keys))


class BucketFiles:
    """Files in an S3 bucket. obstore reads credentials, region and endpoint from ``AWS_…``."""

    def __init__(self, url: str) -> None:
        """``url`` is ``s3://bucket/prefix``."""
        self._store = S3Store.from_url(
            url,
            client_options={
                "connect_timeout": timedelta(seconds=_CONNECT_SECONDS),
                "timeout": timedelta(seconds=_REQUEST_SECONDS),
                # Options given here hide those of the environment.
                "allow_http": os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true"),
            },
            retry_config={
                "max_retries": _RETRIES_MAX,
                "retry_timeout": timedelta(seconds=_RETRY_SECONDS),
            },
        )

    async def put(
        self,
        key: str,
        chunks: AsyncIterator[bytes],
        size: int | None = None,
        sha256: str | None = None,
    ) -> None:
        """See FileStore. A multipart upload whose chunks raise is aborted."""
        checked_key(key)
        content = verified(chunks, size, sha256)
        with _translated():
            if size is not None and size <= _PART_BYTES:
                whole = b"".join([chunk async for chunk in content])
                await self._store.put_async(key, whole, use_multipart=False)
            else:
                await self._store.put_async(
                    key, content, chunk_size=_PART_BYTES, max_concurrency=_PARTS_AT_ONCE
                )

    async def put_all(self, files: Sequence[SmallFile]) -> None:
        """See FileStore. Each is a request, all at once."""
        puts = [self.put(f.object_key, _once(f.data), len(f.data), f.sha256) for f in files]
        for failure in await asyncio.gather(*puts, return_exceptions=True):
            if failure is not None:
                raise failure

    async def get(self, key: str) -> StoredObject | None:
        """See FileStore."""
        checked_key(key)
        with _translated():
            try:
                size = (await self._store.head_async(key))["size"]
            except FileNotFoundError:
                return None
        return StoredObject(size, self._read(key, size))

    async def delete(self, keys: Sequence[str]) -> None:
        """See FileStore."""
        with _translated():
            if keys:
                await self._store.delete_async([checked_key(key) for key in keys])

    async def keys_before(self, time_ms: int) -> AsyncIterator[Sequence[str]]:
        """See FileStore."""
        with _translated():
            async for batch in self._store.list(chunk_size=LIST_SIZE):
                yield [
                    entry["path"]
                    for entry in batch
                    if entry["last_modified"].timestamp() * 1000 < time_ms
                ]

    async def _read(self, key: str, size: int) -> AsyncIterator[bytes]:
        # By ranges: no request's time limit covers the whole download of a slow client.
        for start in range(0, size, _RANGE_BYTES):
            length = min(_RANGE_BYTES, size - start)
            with _translated():
                piece = await self._store.get_range_async(key, start=start, length=length)
            yield bytes(piece)


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (OSError, BaseError) as error:
        raise store_unavailable(error) from error
