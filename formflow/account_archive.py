"""The archive of an account: a gzipped tar, in this order.

| member | what |
|---|---|
| ``account.jsonl`` | an object a line, whose ``type`` says what it is |
| ``files/ID`` | the uploaded files, in the order in which the lines name them |

The lines are a ``header``, then each ``environment``, each ``form``, from format 2 on with its
webhooks, and each ``submission`` with what is known of its files: the documents of the management
API. Those of a form stand together, the oldest first. An archive that was cut off lacks the end
that gzip puts to it.
"""

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

import orjson

from backend.imports.sources import own_submission
from formflow.client import CommandError
from formflow.output import progress_bar

FORMAT = 2
LINES = "account.jsonl"
FILES = "files/"
WITHOUT = (
    "API keys",
    "members",
    "secrets and header values of webhooks",
    "deliveries",
    "Turnstile secrets",
    "usage",
    "audit log",
)
"""What belongs to an account and is not in its archive: secrets, and what is of an installation."""
_GZIP = b"\x1f\x8b"
_TYPES = ("header", "environment", "form", "submission")
_PIECE_BYTES = 1024 * 1024


@dataclass(slots=True)
class Contents:
    """What an archive holds. ``files`` are those that its lines name, ``missing_files`` those of
    them that were gone when it was made; ``file_bytes_max`` is the size of the largest."""

    account: str
    environments: list[str]
    forms: list[dict[str, Any]]
    submissions: int = 0
    files: int = 0
    file_bytes_max: int = 0
    missing_files: int = 0


@dataclass(frozen=True, slots=True)
class _Opened:
    """An archive at some place of it: ``file`` is what is on the disk, ``packed`` what gzip makes
    of it, ``tar`` the members."""

    file: BinaryIO
    packed: gzip.GzipFile
    tar: tarfile.TarFile

    def members(self) -> Iterator[tarfile.TarInfo]:
        """The members from here on."""
        while (member := self.tar.next()) is not None:
            # It would remember every one.
            self.tar.members.clear()  # type: ignore[attr-defined]
            yield member


class Files:
    """The files of an archive, from its front to its back."""

    def __init__(self, opened: _Opened) -> None:
        self._tar = opened.tar
        self._members = opened.members()
        self._lines = next(self._members, None)
        self._member: tarfile.TarInfo | None = None

    def take(self, id: str) -> IO[bytes] | None:
        """The content of a file, to be read before the next one is taken; None if it is missing.
        Files are asked for in the order of the lines."""
        if self._member is None:
            self._member = next(self._members, None)
        if self._member is None or self._member.name != FILES + id:
            return None
        member, self._member = self._member, None
        return self._tar.extractfile(member)


def is_archive(path: Path) -> bool:
    """Whether it is gzipped, as no export of a form is. Raises CommandError."""
    try:
        with path.open("rb") as file:
            return file.read(len(_GZIP)) == _GZIP
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}") from None


def check(path: Path) -> Contents:
    """Reads the archive to its end. Raises CommandError for one that is not whole, or no
    account."""
    with opened(path) as archive, progress_bar(is_counted=True) as bar:
        task = bar.add_task("reading", total=path.stat().st_size)
        contents = _contents(path, _lines(path, archive))
        contents.missing_files = contents.files
        wanted = (record for line in submissions(path) for record in line["files"])
        for member in archive.members():
            # In this order they are found without keeping all of them in mind.
            if not any(member.name == FILES + record["id"] for record in wanted):
                raise CommandError(f"{path} is damaged: {member.name!r} is not in its place")
            contents.missing_files -= 1
            bar.update(task, completed=archive.file.tell())
        # The checksum of the whole stands behind what tar reads.
        while archive.packed.read(_PIECE_BYTES):
            pass
    return contents


def submissions(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of the submissions. Raises CommandError."""
    with opened(path) as archive:
        for _, line in _lines(path, archive):
            if line["type"] == "submission":
                yield line


@contextmanager
def opened(path: Path) -> Iterator[_Opened]:
    """The archive, to be read from front to back. Raises CommandError."""
    try:
        with (
            path.open("rb") as file,
            gzip.GzipFile(fileobj=file) as packed,
            tarfile.open(fileobj=packed, mode="r|") as tar,
        ):
            yield _Opened(file, packed, tar)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise CommandError(f"{path} was cut off, is damaged or no archive: {error}") from None
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}") from None


def _lines(path: Path, archive: _Opened) -> Iterator[tuple[int, dict[str, Any]]]:
    """The numbers and the objects of the lines."""
    member = next(archive.members(), None)
    content = archive.tar.extractfile(member) if member and member.name == LINES else None
    if content is None:
        raise CommandError(
            f"{path} is no account that formflow export has written; formflow restore reads what "
            "formflow backup has"
        )
    for number, line in enumerate(content, 1):
        try:
            yield number, orjson.loads(line)
        except ValueError as error:
            raise CommandError(f"{path}, {LINES}, line {number}: {error}") from None


def _contents(path: Path, lines: Iterator[tuple[int, dict[str, Any]]]) -> Contents:
    contents, reached = Contents("", [], []), 0
    form_ids = set[str]()
    for number, line in lines:
        try:
            place = _TYPES.index(line["type"])
            if place < reached or (place == 0) != (number == 1):
                raise ValueError(f"a {line['type']} does not stand here")
            reached = place
            _count(contents, line, form_ids)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CommandError(f"{path}, {LINES}, line {number}: {error!r}") from None
    if reached == 0:
        raise CommandError(f"{path} is damaged: {LINES} says nothing of an account")
    return contents


def _count(contents: Contents, line: dict[str, Any], form_ids: set[str]) -> None:
    match line["type"]:
        case "header":
            if line["format"] not in range(1, FORMAT + 1):
                raise CommandError(
                    f"the archive has format {line['format']!r}, this version reads {FORMAT}: "
                    f"import it with version {line['version']!r} or later"
                )
            contents.account = line["account"]
        case "environment":
            contents.environments.append(line["name"])
        case "form":
            form_ids.add(line["id"])
            contents.forms.append(
                line | {"slug": str(line["slug"]), "webhooks": list(line.get("webhooks", ()))}
            )
        case "submission":
            if line["form_id"] not in form_ids:
                raise ValueError(f"there is no form {line['form_id']}")
            own_submission(line)
            contents.submissions += 1
            contents.files += len(line["files"])
            for record in line["files"]:
                file_query(record, 0)
                contents.file_bytes_max = max(contents.file_bytes_max, record["size"])


def file_query(record: dict[str, Any], position: int) -> dict[str, Any]:
    """What is said of a file when it is imported. Raises KeyError, TypeError."""
    members = ("field", "name", "content_type", "sha256")
    return {"position": position} | {name: record[name] for name in members}
