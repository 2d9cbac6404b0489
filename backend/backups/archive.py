"""The archive of a backup: a gzipped tar, in this order.

| member | what |
|---|---|
| ``database`` | a copy of the SQLite file, or a dump in pg_dump's custom format |
| ``secrets/NAME``, ``plans.toml`` | what the database is no use without |
| ``files.jsonl`` | key, size and SHA-256 of every uploaded file, a line each |
| ``files/KEY`` | the uploaded files, in the order of that list |
| ``manifest.json`` | what this is, of when, and how much; an archive without it was cut off |
"""

import gzip
import hashlib
import io
import os
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

import orjson

from backend.durable_directories import sync
from contracts.runtime.settings import StartError

FORMAT = 1
DATABASE = "database"
SECRETS = "secrets/"
PLANS = "plans.toml"
INDEX = "files.jsonl"
FILES = "files/"
MANIFEST = "manifest.json"
_PIECE_BYTES = 1024 * 1024
# Uploads are mostly compressed already; the database shrinks to a third at any level.
_COMPRESSION = 1


class BackupError(StartError):
    """A backup cannot be made or restored; the message is one line that says why."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an archive says of itself. ``created_at`` (Unix milliseconds) is when the copy of the
    database began: what was acknowledged later is not in it. ``files_at`` names the bucket whose
    files were not copied; ``missing_files`` counts those deleted while the backup was made."""

    format: int
    version: str
    schema: str
    created_at: int
    database: str
    database_bytes: int
    database_sha256: str
    epoch: str
    revision: int
    forms: int
    submissions: int
    files: int
    file_bytes: int
    missing_files: int
    files_at: str | None
    secrets: list[str]


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A line of the list of files; ``size`` in bytes, ``sha256`` hex."""

    key: str
    size: int
    sha256: str


class ArchiveWriter:
    """Adds members, one after the other."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar

    def add_path(self, name: str, path: Path) -> tuple[int, str]:
        """Adds a file; its size in bytes and its SHA-256 (hex)."""
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            hashing = _Hashing(file)
            self.add(name, hashing, size)
        return size, hashing.hexdigest()

    def add(self, name: str, content: Any, size: int) -> None:
        """Adds ``size`` bytes of something that can be read."""
        member = tarfile.TarInfo(name)
        member.size, member.mode = size, 0o600
        self._tar.addfile(member, content)

    def add_manifest(self, manifest: Manifest) -> None:
        """Adds the manifest, last of all."""
        document = orjson.dumps(asdict(manifest), option=orjson.OPT_INDENT_2)
        self.add(MANIFEST, io.BytesIO(document), len(document))


@contextmanager
def written(path: Path) -> Iterator[ArchiveWriter]:
    """A new archive, readable by its owner only, that has its name once it is whole and durable.

    Raises OSError.
    """
    unfinished = path.with_name(f"{path.name}.part")
    try:
        with (
            new_private_file(unfinished) as file,
            gzip.GzipFile("", "wb", _COMPRESSION, file) as packed,
            tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as tar,
        ):
            yield ArchiveWriter(tar)
        sync(str(unfinished))
        unfinished.rename(path)
        sync(str(path.absolute().parent))
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def opened(path: Path) -> Iterator[tuple[tarfile.TarFile, BinaryIO]]:
    """An archive to read from front to back, and the file below it, whose position tells how far.

    Raises:
        BackupError: it is no archive, or damaged.
        OSError
    """
    try:
        with (
            path.open("rb") as file,
            gzip.GzipFile(fileobj=file) as packed,
            tarfile.open(fileobj=packed, mode="r|") as tar,
        ):
            yield tar, file
            # The checksum of the whole stands behind what tar reads.
            while packed.read(_PIECE_BYTES):
                pass
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BackupError(f"{path} is damaged, or no backup: {error}") from error


def parse_manifest(document: bytes) -> Manifest:
    """Raises BackupError for what is not a manifest of this format."""
    try:
        members = orjson.loads(document)
        if members["format"] == FORMAT:
            return Manifest(**members)
    except (ValueError, KeyError, TypeError) as error:
        raise BackupError(f"the archive's manifest cannot be read: {error}") from None
    raise BackupError(
        f"the archive has format {members['format']}, this version reads {FORMAT}: "
        "restore it with the version that made it"
    )


def new_private_file(path: Path) -> BinaryIO:
    """A new file to write, readable by its owner only. Raises OSError."""
    return open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600))


def copy(source: IO[bytes], target: BinaryIO) -> str:
    """Copies to the end; the SHA-256 (hex) of what was copied."""
    digest = hashlib.sha256()
    while piece := source.read(_PIECE_BYTES):
        digest.update(piece)
        target.write(piece)
    return digest.hexdigest()


class _Hashing:
    """Reads a file and remembers the digest of what was read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        piece = self._file.read(size)
        self._digest.update(piece)
        return piece

    def hexdigest(self) -> str:
        return self._digest.hexdigest()
