"""Files below a local directory. Nothing blocks the event loop."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

from backend.file_port import LIST_SIZE, StoredObject, checked_key, store_unavailable, verified

_READ_BYTES = 256 * 1024


class LocalFiles:
    """A FileStore. An unfinished file stands beside its place, and is swept like an orphan."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def put(
        self,
        key: str,
        chunks: AsyncIterator[bytes],
        size: int | None = None,
        sha256: str | None = None,
    ) -> None:
        """See FileStore."""
        path = self._root / checked_key(key)
        unfinished = path.with_name(f"{path.name}.{secrets.token_hex(8)}.part")
        with _translated():
            try:
                await asyncio.to_thread(_create, unfinished)
                async for chunk in verified(chunks, size, sha256):
                    await asyncio.to_thread(_append, unfinished, chunk)
                await asyncio.to_thread(_publish, unfinished, path, self._root)
            finally:
                unfinished.unlink(missing_ok=True)

    async def get(self, key: str) -> StoredObject | None:
        """See FileStore."""
        path = self._root / checked_key(key)
        with _translated():
            try:
                size = (await asyncio.to_thread(path.stat)).st_size
            except FileNotFoundError:
                return None
        return StoredObject(size, _read_file(path, size))

    async def delete(self, keys: Sequence[str]) -> None:
        """See FileStore."""
        with _translated():
            await asyncio.to_thread(_unlink, [self._root / checked_key(key) for key in keys])

    async def keys_before(self, time_ms: int) -> AsyncIterator[Sequence[str]]:
        """See FileStore."""
        keys = self._walk(time_ms / 1000)
        with _translated():
            while batch := await asyncio.to_thread(lambda: list(islice(keys, LIST_SIZE))):
                yield batch

    def _walk(self, before: float) -> Iterator[str]:
        for directory, _, names in os.walk(self._root):
            for name in names:
                path = Path(directory, name)
                with suppress(FileNotFoundError):
                    if path.stat().st_mtime < before:
                        yield path.relative_to(self._root).as_posix()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise store_unavailable(error) from error


def _create(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(0o600, exist_ok=False)


def _append(path: Path, chunk: bytes) -> None:
    # Opened anew for each chunk, so that a put that is cancelled leaves no open descriptor; not
    # created, so that it leaves no file.
    with path.open("r+b") as file:
        file.seek(0, os.SEEK_END)
        file.write(chunk)


def _publish(unfinished: Path, path: Path, root: Path) -> None:
    """Makes the file durable under its name: its bytes first, then every directory on the way,
    the one that holds the root included."""
    _fsync(unfinished)
    unfinished.replace(path)
    for directory in path.parents:
        _fsync(directory)
        if directory == root.parent:
            break


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unlink(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
        # The directory of a submission goes with its last file.
        with suppress(OSError):
            path.parent.rmdir()


async def _read_file(path: Path, size: int) -> AsyncIterator[bytes]:
    for offset in range(0, size, _READ_BYTES):
        yield await asyncio.to_thread(_read_piece, path, offset)


def _read_piece(path: Path, offset: int) -> bytes:
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        return file.read(_READ_BYTES)
