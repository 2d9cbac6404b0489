"""Mails as files, where no SMTP server is configured: each one a message as it would have gone out
(``.eml``), for its account to read.

The name of a file is the mail's id and the account's. The newest ``KEPT``, and a twentieth more at
times, are kept, of all accounts together. Everything that blocks runs in a thread.
"""

import asyncio
import errno
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.parser import BytesHeaderParser
from email.utils import parsedate_to_datetime
from pathlib import Path

from backend.delivery.attempts import Attempt, Verdict
from backend.durable_directories import sync
from backend.mail.letter import Letter, written
from contracts.ids import is_id
from contracts.runtime.telemetry import get_logger

KEPT = 1_000
# Of the disk so much is left to what must not fail: the database may be on the same one.
_FREE_BYTES = 32 * 1024**2
_SUFFIX = ".eml"
_log = get_logger("backend")


@dataclass(frozen=True, slots=True)
class StoredMail:
    """A mail in the mailbox. ``received_at`` is Unix milliseconds, ``size`` in bytes."""

    id: str
    to: str
    sender: str
    subject: str
    received_at: int
    size: int


@dataclass(frozen=True, slots=True)
class OpenMail:
    """A mail with all that is in it; ``raw`` is the message itself, which is ASCII."""

    mail: StoredMail
    headers: Sequence[tuple[str, str]]
    text: str
    html: str
    raw: str


class FileMailbox:
    """An ``Outlet``."""

    def __init__(self, directory: Path, kept: int = KEPT) -> None:
        self._directory = directory
        self._kept = kept
        self._unpruned = kept

    async def send(self, letter: Letter) -> Attempt:
        """See ``Outlet``. A mail that is sent again replaces itself."""
        try:
            await asyncio.to_thread(self._write, _name_of(letter), written(letter))
        except OSError as error:
            _log.error("mail cannot be written: mails wait", error=str(error))
            return Attempt(Verdict.AWAY, error="The mail cannot be written to the disk right now.")
        return Attempt(Verdict.DELIVERED)

    async def close(self) -> None:
        """See ``Outlet``."""

    async def newest(self, account_id: str, before: str | None, limit: int) -> list[StoredMail]:
        """The account's newest mails of those older than ``before``, the newest first."""
        return await asyncio.to_thread(self._list, account_id, before, limit)

    async def find(self, account_id: str, id: str) -> OpenMail | None:
        """One of the account's mails."""
        if not is_id(id, "mail"):
            return None
        return await asyncio.to_thread(self._open, account_id, id)

    def _write(self, name: str, content: bytes) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if shutil.disk_usage(self._directory).free < _FREE_BYTES:
            raise OSError(errno.ENOSPC, "the disk is nearly full")
        path, part = self._directory / name, self._directory / f"{name}.part"
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        sync(str(self._directory))
        self._prune()

    def _prune(self) -> None:
        """Removes the oldest mails, now and then: to look through all of them takes a while."""
        self._unpruned += 1
        if self._unpruned * 20 < self._kept:
            return
        self._unpruned = 0
        for old in self._names(lambda _: True)[self._kept :]:
            (self._directory / old).unlink(missing_ok=True)

    def _list(self, account_id: str, before: str | None, limit: int) -> list[StoredMail]:
        end = _end_of(account_id)
        names = self._names(
            lambda name: name.endswith(end) and (before is None or name.removesuffix(end) < before)
        )
        found = (self._read_head(name) for name in names[:limit])
        return [mail for mail in found if mail is not None]

    def _names(self, is_wanted: Callable[[str], bool]) -> list[str]:
        """The files' names, the newest mail first."""
        try:
            names = os.listdir(self._directory)
        except FileNotFoundError:
            return []
        return sorted((n for n in names if n.endswith(_SUFFIX) and is_wanted(n)), reverse=True)

    def _read_head(self, name: str) -> StoredMail | None:
        """None if it was removed meanwhile."""
        try:
            with (self._directory / name).open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                head = BytesHeaderParser(policy=policy.default).parse(file)
        except FileNotFoundError:
            return None
        return _summary(name, head, size)

    def _open(self, account_id: str, id: str) -> OpenMail | None:
        name = id + _end_of(account_id)
        try:
            content = (self._directory / name).read_bytes()
        except FileNotFoundError:
            return None
        message = message_from_bytes(content, policy=policy.default)
        parts = {part.get_content_subtype(): part.get_content() for part in message.iter_parts()}
        text, html = (parts[kind].replace("\r\n", "\n") for kind in ("plain", "html"))
        return OpenMail(
            _summary(name, message, len(content)),
            [(header, str(value)) for header, value in message.items()],
            text,
            html,
            content.decode("ascii"),
        )


def _name_of(letter: Letter) -> str:
    # The delivery's id but for its prefix: of its time, and the same at each attempt.
    _, _, tail = letter.id.partition("_")
    return f"mail_{tail}{_end_of(letter.account_id)}"


def _end_of(account_id: str) -> str:
    return f".{account_id}{_SUFFIX}"


def _summary(name: str, message: EmailMessage, size: int) -> StoredMail:
    return StoredMail(
        id=name.partition(".")[0],
        to=str(message["To"]),
        sender=str(message["From"]),
        subject=str(message["Subject"]),
        received_at=round(parsedate_to_datetime(str(message["Date"])).timestamp() * 1000),
        size=size,
    )
