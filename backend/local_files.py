"""Files below a local directory. Nothing blocks the event loop."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import TypeVar

from backend.durable_directories import DurableDirectories, sync
from backend.file_port import (
    LIST_SIZE,
    StoredObject,
    check_content,
    checked_key,
    store_unavailable,
    verified,
)
from contracts.small_files import SmallFile

_READ_BYTES = 256 * 1024
# They all wait for the disk, which makes one flush of what is asked for at the same time.
_WRITERS = 16

Work = TypeVar("Work")
Done = TypeVar("Done")


class LocalFiles:
    """A FileStore. An unfinished file stands beside its place, and is swept like an orphan."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self._directories = DurableDirectories(self._root)
        self._writers = ThreadPoolExecutor(_WRITERS, "file-writer")

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
                await asyncio.to_thread(self._create, unfinished)
                async for chunk in verified(chunks, size, sha256):
                    await asyncio.to_thread(_append, unfinished, chunk)
                await asyncio.to_thread(self._publish, unfinished, path)
            finally:
                unfinished.unlink(missing_ok=True)

    async def put_all(self, files: Sequence[SmallFile]) -> None:
        """See FileStore. A few files go to each writer, whatever their number."""
        for file in files:
            checked_key(file.object_key)
        shares = [files[number::_WRITERS] for number in range(min(_WRITERS, len(files)))]
        with _translated():
            written = await asyncio.gather(
                *(self._in_writer(self._write, share) for share in shares), return_exceptions=True
            )
            directories = set[str]()
            for result in written:
                if isinstance(result, BaseException):
                    raise result
                directories |= result
            await self._in_writer(self._directories.settle, directories)

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
            await asyncio.to_thread(self._unlink, [self._root / checked_key(key) for key in keys])

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

    def _in_writer(self, work: Callable[[Work], Done], argument: Work) -> asyncio.Future[Done]:
        return asyncio.get_running_loop().run_in_executor(self._writers, work, argument)

    def _create(self, path: Path) -> None:
        self._directories.make(str(path.parent))
        path.touch(0o600, exist_ok=False)

    def _publish(self, unfinished: Path, path: Path) -> None:
        """Makes the file durable under its name: its bytes first, then every directory on the way,
        the one that holds the root included."""
        sync(str(unfinished))
        unfinished.replace(path)
        sync(str(path.parent))
        self._directories.settle([str(path.parent)])

    def _write(self, files: Sequence[SmallFile]) -> set[str]:
        """Writes files whose directories are then to be settled. Raises ContentMismatch."""
        directories = set()
        for file in files:
            check_content(file)
            path = f"{self._root}/{file.object_key}"
            directory = os.path.dirname(path)
            self._directories.make(directory)
            _write_whole(path, file.data)
            directories.add(directory)
        for directory in directories:
            sync(directory)
        return directories

    def _unlink(self, paths: Sequence[Path]) -> None:
        for path in paths:
            path.unlink(missing_ok=True)
            # The directory of a submission goes with its last file.
            self._directories.forget(str(path.parent))
            with suppress(OSError):
                path.parent.rmdir()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise store_unavailable(error) from error


def _append(path: Path, chunk: bytes) -> None:
    # Opened anew for each chunk, so that a put that is cancelled leaves no open descriptor; not
    # created, so that it leaves no file.
    with path.open("r+b") as file:
        file.seek(0, os.SEEK_END)
        file.write(chunk)


def _write_whole(path: str, data: bytes) -> None:
    unfinished = f"{path}.{secrets.token_hex(8)}.part"
    try:
        with open(unfinished, "xb", buffering=0, opener=_open_private) as file:
            if file.write(data) != len(data):
                raise OSError(f"{path}: not all of it could be written")
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(unfinished)
        raise


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


async def _read_file(path: Path, size: int) -> AsyncIterator[bytes]:
    for offset in range(0, size, _READ_BYTES):
        yield await asyncio.to_thread(_read_piece, path, offset)


def _read_piece(path: Path, offset: int) -> bytes:
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        return file.read(_READ_BYTES)
