"""Keeps the files of a post while it is judged: small ones in memory, others in a directory.

What holds: bytes are written and read in worker threads, never on the event loop; all files
together stay within a quota, and a reserve of the disk stays free; nothing outlives the post, nor,
after a crash, the next start of a gateway.
"""

import asyncio
import dataclasses
import fcntl
import hashlib
import os
import secrets
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from contracts.problems import Problem, Rejected
from contracts.runtime.telemetry import get_logger

CHUNK_BYTES = 65_536
QUOTA_BYTES = 2 * 1024**3
FREE_BYTES_MIN = 64 * 1024**2

_log = get_logger("gateway")


class Staging:
    """The staging directory of one gateway process, and its bounds in bytes.

    A process has a subdirectory of its own, which it holds locked: what is not locked was left by a
    process that is gone. It is made when the first file needs it.
    """

    def __init__(
        self,
        directory: Path,
        *,
        quota_bytes: int = QUOTA_BYTES,
        free_bytes_min: int = FREE_BYTES_MIN,
    ) -> None:
        self._directory = directory
        self._quota_bytes = quota_bytes
        self._free_bytes_min = free_bytes_min
        self._used_bytes = 0
        self._opening = threading.Lock()
        self._own: Path | None = None
        self._lock: int | None = None

    def clean(self) -> None:
        """Removes what gateways that are gone have left. Blocks: call it in a thread."""
        if not self._directory.is_dir():
            return
        with _locked(self._directory):
            for entry in self._directory.iterdir():
                _remove_unlocked(entry)

    def close(self) -> None:
        """Removes the process's own subdirectory. Blocks shortly."""
        if self._own is not None and self._lock is not None:
            shutil.rmtree(self._own, ignore_errors=True)
            os.close(self._lock)
            self._own = self._lock = None

    def reserve(self, size: int) -> None:
        """Takes bytes of the quota. Raises Rejected(UNAVAILABLE) if they are not there."""
        if self._used_bytes + size > self._quota_bytes:
            raise _no_room()
        self._used_bytes += size

    def release(self, size: int) -> None:
        """Gives bytes of the quota back."""
        self._used_bytes -= size

    def new_path(self) -> Path:
        """A path for a new file. Blocks. Raises OSError."""
        with self._opening:
            if self._own is None:
                self._own, self._lock = _make_locked(self._directory)
            return self._own / secrets.token_hex(16)

    def check_disk(self, path: Path, size: int) -> None:
        """Blocks shortly. Raises Rejected(UNAVAILABLE) if that many bytes more would touch the
        reserve of the disk."""
        disk = os.statvfs(path.parent)
        if disk.f_bavail * disk.f_frsize - size < self._free_bytes_min:
            raise _no_room()


class StagedContent:
    """The bytes of one file: ``write`` them as they arrive, ``settle`` while ``is_due``, ``close``.

    Bytes of a file that is longer than ``limit`` are counted and digested, but not kept; with a
    limit of 0 no file is kept at all.
    """

    def __init__(self, staging: Staging, limit: int) -> None:
        self.size = 0
        self._staging = staging
        self._limit = limit
        self._digest = hashlib.sha256()
        self._pending = bytearray()
        self._path: Path | None = None
        self._staged_bytes = 0
        self._is_discarded = False

    @property
    def is_oversize(self) -> bool:
        """Whether the file is longer than it may be."""
        return self._limit == 0 or self.size > self._limit

    @property
    def is_due(self) -> bool:
        """Whether more bytes wait in memory than should."""
        return len(self._pending) > CHUNK_BYTES

    @property
    def sha256(self) -> str:
        """The digest of every byte, in hex, once the content is closed."""
        return self._digest.hexdigest()

    def write(self, chunk: bytes) -> None:
        """Takes the next bytes, in memory."""
        self.size += len(chunk)
        self._pending += chunk

    async def settle(self) -> None:
        """Moves the waiting bytes to the disk. Raises Rejected(UNAVAILABLE)."""
        waiting, self._pending = self._pending, bytearray()
        if self.is_oversize:
            await asyncio.to_thread(self._digest.update, waiting)
            self._remove()
            return
        self._staging.reserve(len(waiting))
        self._staged_bytes += len(waiting)
        try:
            await asyncio.to_thread(self._append, waiting)
        except OSError as error:
            _log.error("staging failed", error=str(error))
            raise _no_room() from error

    async def close(self) -> None:
        """The file is whole; a small one stays in memory. Raises Rejected(UNAVAILABLE)."""
        if self._path is not None or self.is_oversize:
            await self.settle()
        else:
            self._digest.update(self._pending)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes, from the start at every call, at most ``CHUNK_BYTES`` at a time.

        Raises:
            OSError: the content has been discarded.
        """
        if self._path is None:
            if self._pending:
                yield bytes(self._pending)
            return
        for offset in range(0, self.size, CHUNK_BYTES):
            yield await asyncio.to_thread(_read, self._path, offset)

    def kept(self) -> Path | bytes:
        """Where the whole content is: a file, which the caller may move away, or memory."""
        return bytes(self._pending) if self._path is None else self._path

    def discard(self) -> None:
        """Forgets the bytes, as often as it is called. May be called at any time, also while a
        thread that nobody waits for any more still writes: that one then removes the file."""
        self._is_discarded = True
        self._pending = bytearray()
        self._remove()

    def _remove(self) -> None:
        if self._path is not None:
            self._path.unlink(missing_ok=True)
        self._staging.release(self._staged_bytes)
        self._staged_bytes = 0

    def _append(self, data: bytearray) -> None:
        """In a thread. The file is opened for each piece, so that no descriptor has an owner that
        could vanish, and many slow uploads do not use them up."""
        self._digest.update(data)
        is_first = self._path is None
        path = self._path = self._path or self._staging.new_path()
        self._staging.check_disk(path, len(data))
        with open(path, "xb" if is_first else "ab", opener=_open_private) as file:
            file.write(data)
        if self._is_discarded:
            path.unlink(missing_ok=True)


@dataclasses.dataclass(frozen=True, slots=True)
class Upload:
    """A file of a post, received in full.

    ``filename`` is what the client called it, which may be anything; ``content_type`` is a plain
    ``type/subtype``. ``size`` in bytes and ``sha256`` in hex are those of all that arrived. If
    ``is_oversize``, the bytes themselves were not kept.
    """

    field: str
    filename: str
    content_type: str
    size: int
    sha256: str
    is_oversize: bool
    content: StagedContent = dataclasses.field(repr=False, compare=False)

    def chunks(self) -> AsyncIterator[bytes]:
        """The bytes, from the start at every call, at most ``CHUNK_BYTES`` at a time."""
        return self.content.chunks()

    def kept(self) -> Path | bytes:
        """Where the whole content is: a file, which the caller may move away, or memory."""
        return self.content.kept()

    def discard(self) -> None:
        """Forgets the bytes; as often as it is called."""
        self.content.discard()


def _no_room() -> Rejected:
    return Rejected(
        Problem.UNAVAILABLE,
        "There is no room for files right now. Try again in a moment.",
        headers={"Retry-After": "30"},
    )


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _read(path: Path, offset: int) -> bytes:
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        return file.read(CHUNK_BYTES)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Keeps other processes from making or removing subdirectories meanwhile."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _make_locked(directory: Path) -> tuple[Path, int]:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(directory):
        own = Path(tempfile.mkdtemp(dir=directory))
        descriptor = os.open(own, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return own, descriptor


def _remove_unlocked(entry: Path) -> None:
    try:
        descriptor = os.open(entry, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        # No directory, or gone already.
        return
    try:
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(entry, ignore_errors=True)
    finally:
        os.close(descriptor)
