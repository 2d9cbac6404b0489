"""The files of spooled submissions: ``files/<submission id>/<n>``, in the submission's order."""

import asyncio
import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from contracts.ids import is_id
from contracts.runtime.telemetry import get_logger
from contracts.submissions import StoredFile, Submission
from gateway.spool.directory import make_directory, sync_directory, sync_file
from gateway.staging import CHUNK_BYTES

_log = get_logger("gateway")


@dataclass(frozen=True, slots=True)
class SpooledFile:
    """A file that waits for the backend: what the submission says of it, and where it is."""

    stored: StoredFile
    path: Path

    @property
    def size(self) -> int:
        """In bytes."""
        return self.stored.size

    @property
    def sha256(self) -> str:
        """In hex."""
        return self.stored.sha256

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes, from the start at every call. Raises OSError."""
        for offset in range(0, self.size, CHUNK_BYTES):
            yield await asyncio.to_thread(_read, self.path, offset)

    async def is_whole(self) -> bool:
        """Whether the bytes are those that were spooled. Raises OSError."""
        digest = hashlib.sha256()
        async for chunk in self.chunks():
            digest.update(chunk)
        return digest.hexdigest() == self.sha256


class SpoolFiles:
    """The directory of the files. Every method blocks: call it in a thread."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def keep(self, submission_id: str, contents: Sequence[Path | bytes]) -> None:
        """Moves staged files in, writes what was staged in memory; durable when it returns.

        Raises OSError, SpoolFailed; then nothing is kept.
        """
        if not is_id(submission_id, "sub"):
            raise ValueError(f"{submission_id!r} names no directory")
        own = self._directory / submission_id
        make_directory(self._directory)
        own.mkdir(mode=0o700)
        try:
            for index, content in enumerate(contents):
                _place(content, own / str(index))
            sync_directory(own)
            sync_directory(self._directory)
        except BaseException:
            self.remove(submission_id)
            raise

    def find(self, submission: Submission) -> tuple[SpooledFile, ...]:
        """The files of a submission. Raises FileNotFoundError if one is not there whole; of one
        that cannot be looked at, reading it will say why."""
        files = tuple(
            SpooledFile(stored, self._directory / submission.id / str(index))
            for index, stored in enumerate(submission.files)
        )
        for file in files:
            if _size(file) != file.size:
                raise FileNotFoundError(f"{file.path.name}: not {file.size} bytes long")
        return files

    def remove(self, submission_id: str) -> None:
        """Removes a submission's files. What cannot be removed is an orphan, for the next start."""
        own = self._directory / submission_id
        try:
            shutil.rmtree(own)
        except FileNotFoundError:
            return
        except OSError as error:
            _log.warning("spooled files not removed", path=str(own), error=str(error))

    def remove_orphans(self, submission_ids: Collection[str]) -> None:
        """Removes the files of all other submissions."""
        if self._directory.is_dir():
            for own in self._directory.iterdir():
                if own.name not in submission_ids:
                    self.remove(own.name)


def _size(file: SpooledFile) -> int:
    try:
        return file.path.stat().st_size
    except FileNotFoundError:
        raise
    except OSError:
        return file.size


def _place(content: Path | bytes, path: Path) -> None:
    if isinstance(content, Path):
        # Copies where staging is on another disk.
        shutil.move(content, path)
        path.chmod(0o600)
    else:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:
            file.write(content)
    sync_file(path)


def _read(path: Path, offset: int) -> bytes:
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        return file.read(CHUNK_BYTES)
