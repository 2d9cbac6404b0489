"""What a store of files does, and what every store checks.

What holds of every store: ``put`` returns when the whole file is durable under its key, and leaves
nothing under it otherwise; a file that is put again replaces itself; no key leads out of the store.
"""

import hashlib
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from contracts.problems import Problem, Rejected
from contracts.runtime.telemetry import get_logger
from contracts.small_files import SmallFile

LIST_SIZE = 1_000
_KEY_BYTES_MAX = 900
# A segment and the ending of its unfinished file are one file name, of 255 bytes at most.
_SEGMENT_BYTES_MAX = 230
_SEGMENT = re.compile(r"[^./\\\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]*")
_log = get_logger("backend")


class ContentMismatch(Exception):
    """The bytes that arrived are not those that were announced."""


class BadKey(ValueError):
    """No file can have this key."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """A file: its ``size`` in bytes, and the bytes themselves, once."""

    size: int
    chunks: AsyncIterator[bytes]


class FileStore(Protocol):
    """A store of files. Everything may raise Rejected(UNAVAILABLE)."""

    async def put(
        self,
        key: str,
        chunks: AsyncIterator[bytes],
        size: int | None = None,
        sha256: str | None = None,
    ) -> None:
        """Stores a file, if it has the size and the digest (hex) that it is said to have.

        Raises:
            BadKey, ContentMismatch: nothing is stored. What ``chunks`` raises passes through.
        """

    async def put_all(self, files: Sequence[SmallFile]) -> None:
        """Stores small files, of different keys, together.

        Raises:
            BadKey, ContentMismatch: of one of them; the others are stored, each whole, or not.
        """

    async def get(self, key: str) -> StoredObject | None:
        """The file, None if there is none."""

    async def delete(self, keys: Sequence[str]) -> None:
        """Removes files; one that does not exist is removed already."""

    def keys_before(self, time_ms: int) -> AsyncIterator[Sequence[str]]:
        """The keys of all files last written before that Unix time, in batches."""


def checked_key(key: str) -> str:
    """The key, if a file can have it. Raises BadKey."""
    segments = key.split("/")
    if len(key.encode()) > _KEY_BYTES_MAX or not all(map(_is_segment, segments)):
        raise BadKey(key)
    return key


def _is_segment(text: str) -> bool:
    return len(text.encode()) <= _SEGMENT_BYTES_MAX and _SEGMENT.fullmatch(text) is not None


async def verified(
    chunks: AsyncIterator[bytes], size: int | None, sha256: str | None
) -> AsyncIterator[bytes]:
    """The chunks; raises ContentMismatch before they end if they are not as announced."""
    digest = hashlib.sha256()
    arrived = 0
    async for chunk in chunks:
        arrived += len(chunk)
        digest.update(chunk)
        if size is not None and arrived > size:
            raise ContentMismatch
        if chunk:
            yield chunk
    if size not in (None, arrived) or sha256 not in (None, digest.hexdigest()):
        raise ContentMismatch


def check_content(file: SmallFile) -> None:
    """Raises ContentMismatch."""
    if hashlib.sha256(file.data).hexdigest() != file.sha256:
        raise ContentMismatch


def store_unavailable(error: Exception) -> Rejected:
    """The refusal for a store that cannot be used now."""
    _log.error("file store unavailable", error=str(error))
    return Rejected(
        Problem.UNAVAILABLE,
        "The file store cannot be used right now. Try again in a moment.",
        headers={"Retry-After": "5"},
    )
