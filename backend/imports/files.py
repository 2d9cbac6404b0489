"""Files of imported submissions, which come after them, one by one.

A file is in the store before its row, as everywhere, and under a key that no other attempt has:
what is left of one that failed is an orphan, which nobody needs and the sweep removes.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import orjson

from backend.access import Principal
from backend.answers import invalid, missing
from backend.audit.record import record
from backend.db import Database
from backend.files import ContentMismatch, FileStore, delete_quietly
from backend.imports import store
from backend.imports.store import CHECK, FileTarget
from backend.plans.catalogue import Plans
from backend.requests import Content
from backend.submissions.file_store import FileRow
from backend.submissions.store import hold_submissions
from contracts.files import object_key, safe_name
from contracts.ids import is_id, new_id
from contracts.problems import Problem, Rejected
from contracts.runtime.clock import Clock


@dataclass(frozen=True, slots=True)
class NewFile:
    """What is said of a file: its ``position`` among those of its submission, from 0, and the
    digest (hex) of its bytes."""

    position: int
    field: str
    name: str
    content_type: str
    sha256: str


class ImportedFiles:
    """Adds files to imported submissions, and to no others: what a visitor posted stays as it
    was."""

    def __init__(self, database: Database, files: FileStore, plans: Plans, clock: Clock) -> None:
        self._database = database
        self._files = files
        self._plans = plans
        self._clock = clock

    async def add(
        self, principal: Principal, submission_id: str, new: NewFile, content: Content
    ) -> FileRow:
        """The file at that position, which is this one; if it is there already, nothing changes.

        Raises:
            Rejected: NOT_FOUND; CONFLICT for a submission that was posted, or another file at the
                position; UPLOADS_NOT_ALLOWED, FILE_TOO_LARGE by the account's plan;
                VALIDATION_ERROR for another digest; BAD_BODY, UNAVAILABLE.
        """
        target = await self._target(principal, submission_id)
        most = self._plans.get(target.plan).file_bytes
        measured = _Measured(content, _checked_limit(most))
        row = _row(submission_id, target, new)
        try:
            await self._files.put(row.object_key, measured.chunks(), content.size, new.sha256)
        except ContentMismatch:
            raise invalid("sha256", "mismatch", "What arrived has another digest.") from None
        row = replace(row, size=measured.size)
        stored = await self._insert(principal, target, row, new.position)
        if stored.object_key != row.object_key:
            await delete_quietly(self._files, [row.object_key])
        if _said(stored) != _said(row):
            raise Rejected(
                Problem.CONFLICT,
                f"The submission has another file at the position {new.position}.",
            )
        return stored

    async def _target(self, principal: Principal, submission_id: str) -> FileTarget:
        if not is_id(submission_id, "sub"):
            raise missing("submission")
        async with self._database.read() as connection:
            target = await store.find_file_target(connection, principal, submission_id)
        if target is None:
            raise missing("submission")
        if not any(check == CHECK for check, *_ in orjson.loads(target.trace)):
            raise Rejected(
                Problem.CONFLICT, "The submission was posted: only imported ones are given files."
            )
        return target

    async def _insert(
        self, principal: Principal, target: FileTarget, row: FileRow, position: int
    ) -> FileRow:
        """What is at the position: ``row``, or what was there before."""
        async with self._database.write() as connection:
            # Held, so that of two files for one position the second sees the first.
            if not await hold_submissions(connection, principal, [row.submission_id]):
                raise missing("submission")
            there = await store.file_at(connection, row.submission_id, position)
            if there is not None:
                return there
            await store.insert_file(connection, row, position)
            now_ms = self._clock.now_ms()
            await record(
                connection, principal, "submissions.imported", target.form_id, now_ms, files=1
            )
        return row


class _Measured:
    """Content that is counted as it passes, up to a limit."""

    def __init__(self, content: Content, most: int) -> None:
        """Raises Rejected(FILE_TOO_LARGE) if it is known to be longer than ``most`` bytes."""
        self._content = content
        self._most = most
        self.size = 0
        if content.size is not None and content.size > most:
            raise self._too_large()

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes. Raises Rejected(FILE_TOO_LARGE) once there are too many."""
        async for chunk in self._content.chunks:
            self.size += len(chunk)
            if self.size > self._most:
                raise self._too_large()
            yield chunk

    def _too_large(self) -> Rejected:
        detail = f"The file is larger than the {self._most} bytes that the plan allows."
        return Rejected(Problem.FILE_TOO_LARGE, detail, limit=self._most)


def _checked_limit(most: int) -> int:
    if most == 0:
        raise Rejected(Problem.UPLOADS_NOT_ALLOWED, "The account's plan does not include files.")
    return most


def _row(submission_id: str, target: FileTarget, new: NewFile) -> FileRow:
    """A row whose size is not known yet."""
    id = new_id("fil", target.received_at)
    name = safe_name(new.name)
    key_name = f"{id.removeprefix('fil_')}-{name}"
    return FileRow(
        id=id,
        submission_id=submission_id,
        field=new.field,
        name=name,
        size=0,
        content_type=new.content_type,
        sha256=new.sha256,
        object_key=object_key(
            target.form_id, submission_id, target.received_at, new.position, key_name
        ),
    )


def _said(row: FileRow) -> tuple[str, ...]:
    return row.field, row.name, row.content_type, row.sha256
