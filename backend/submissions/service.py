"""Rules of submissions: whose they are, how they are filed, and how they leave."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from backend.access import Principal
from backend.answers import missing
from backend.audit.record import record
from backend.db import Connection, Database
from backend.delivery import outbox
from backend.delivery.bulk_store import remove_of_submissions
from backend.delivery.doorbell import Doorbell
from backend.files import FileStore, StoredObject, delete_quietly
from backend.search.words import Query
from backend.submissions import file_store, store
from backend.submissions.export import CsvExport
from backend.submissions.file_store import FileRow
from backend.submissions.finding import Found, find
from backend.submissions.store import ExportRow, Filter, Forms, SubmissionRow
from contracts.ids import is_id
from contracts.runtime.clock import Clock, iso
from contracts.runtime.telemetry import get_logger

_log = get_logger("backend")
_CSV_PAGE = 500
# Nothing is answered before the columns are known: this pass is to be quick.
_COLUMNS_PAGE = 1_000
# Whole documents, which take longer to make: no page keeps the event loop for long.
_JSON_PAGE = 100

Row = TypeVar("Row", ExportRow, SubmissionRow)


@dataclass(frozen=True, slots=True)
class Done:
    """How many submissions were marked or deleted, and the ids that there is none of."""

    count: int
    missing: list[str]


class SubmissionService:
    """The submissions within a principal's reach."""

    def __init__(
        self, database: Database, files: FileStore, clock: Clock, doorbell: Doorbell
    ) -> None:
        """Whoever is at the ``doorbell`` learns of what is released and to be delivered."""
        self._database = database
        self._files = files
        self._clock = clock
        self._doorbell = doorbell

    async def find(
        self, among: Forms, wanted: Filter, query: Query | None, before: str | None, limit: int
    ) -> Found:
        """A page of the forms' submissions, newest first, those older than ``before``; with a query
        only of those that it finds."""
        async with self._database.read() as connection:
            return await find(connection, among, wanted, query, before, limit)

    async def count(self, form_id: str, wanted: Filter) -> Mapping[str, int]:
        """How many submissions a form has, by their status. The caller knows that the form is the
        principal's."""
        async with self._database.read() as connection:
            return await store.count_of_form(connection, form_id, wanted)

    async def get(self, principal: Principal, id: str) -> SubmissionRow:
        """One submission. Raises Rejected(NOT_FOUND)."""
        if not is_id(id, "sub"):
            raise missing("submission")
        async with self._database.read() as connection:
            row = await store.find_submission(connection, principal, id)
        if row is None:
            raise missing("submission")
        return row

    async def neighbours(
        self, among: Forms, wanted: Filter, id: str
    ) -> tuple[str | None, str | None]:
        """The ids next to a submission in a list of the forms', which it need not be in itself:
        the newer and the older. Raises Rejected(NOT_FOUND)."""
        row = await self.get(among.principal, id)
        async with self._database.read() as connection:
            return await store.neighbours(connection, among, wanted, row.id)

    async def files_of(self, ids: Sequence[str]) -> Mapping[str, Sequence[FileRow]]:
        """The files of each of these submissions, which the caller knows to be the principal's; a
        submission without any may be absent."""
        async with self._database.read() as connection:
            return await file_store.files_of(connection, ids)

    async def open_file(
        self, submission_id: str, id: str, principal: Principal | None
    ) -> tuple[FileRow, StoredObject]:
        """A file and its content; with a principal, only if the submission is within its reach.

        Raises:
            Rejected: NOT_FOUND, UNAVAILABLE.
        """
        if not (is_id(submission_id, "sub") and is_id(id, "fil")):
            raise missing("file")
        async with self._database.read() as connection:
            row = await file_store.find_file(connection, submission_id, id, principal)
        if row is None:
            raise missing("file")
        content = await self._files.get(row.object_key)
        if content is None:
            _log.error("a file has vanished from the store", file_id=id)
            raise missing("file")
        return row, content

    async def change(self, principal: Principal, id: str, changes: Mapping[str, Any]) -> None:
        """Files a submission as ``status`` and ``read`` say, whichever are named.

        Raises:
            Rejected: NOT_FOUND.
        """
        async with self._database.write() as connection:
            held = await _hold_one(connection, principal, id)
            now_ms = self._clock.now_ms()
            await _file(connection, principal, [held], changes, now_ms)
            await record(connection, principal, "submission.changed", held, now_ms, **changes)
        self._doorbell.ring()

    async def delete(self, principal: Principal, id: str) -> None:
        """Deletes a submission with its files. Raises Rejected(NOT_FOUND)."""
        async with self._database.write() as connection:
            held = await _hold_one(connection, principal, id)
            keys = await _delete(connection, [held])
            now_ms = self._clock.now_ms()
            await record(connection, principal, "submission.deleted", held, now_ms)
        await delete_quietly(self._files, keys)

    async def change_all(
        self, principal: Principal, ids: Sequence[str], changes: Mapping[str, Any]
    ) -> Done:
        """As ``change``, for those that there are of many, in one transaction."""
        async with self._database.write() as connection:
            held, done = await _hold(connection, principal, ids)
            if held:
                now_ms, count = self._clock.now_ms(), len(held)
                await _file(connection, principal, held, changes, now_ms)
                await record(
                    connection,
                    principal,
                    "submissions.changed",
                    None,
                    now_ms,
                    count=count,
                    **changes,
                )
        self._doorbell.ring()
        return done

    async def delete_all(self, principal: Principal, ids: Sequence[str]) -> Done:
        """As ``delete``, for those that there are of many, in one transaction."""
        keys: list[str] = []
        async with self._database.write() as connection:
            held, done = await _hold(connection, principal, ids)
            if held:
                keys = await _delete(connection, held)
                now_ms, count = self._clock.now_ms(), len(held)
                await record(
                    connection, principal, "submissions.deleted", None, now_ms, count=count
                )
        await delete_quietly(self._files, keys)
        return done

    async def note_export(
        self, principal: Principal, form_id: str, wanted: Filter, format: str
    ) -> None:
        """Puts down in the audit log that submissions of a form leave."""
        times = {"since": wanted.since, "until": wanted.until}
        named = {name: iso(ms) for name, ms in times.items() if ms is not None}
        status = wanted.status or "all"
        async with self._database.write() as connection:
            await record(
                connection,
                principal,
                "submissions.exported",
                form_id,
                self._clock.now_ms(),
                format=format,
                status=status,
                **named,
            )

    def csv(self, form_id: str, wanted: Filter) -> CsvExport:
        """Submissions of a form, which the caller knows to be the principal's."""
        return CsvExport(
            lambda: self._payloads(form_id, wanted),
            lambda: self._pages(store.export_page_of_form, form_id, wanted, _CSV_PAGE),
        )

    async def _payloads(
        self, form_id: str, wanted: Filter
    ) -> AsyncIterator[Sequence[Sequence[str]]]:
        after = ""
        while True:
            async with self._database.read() as connection:
                page = await store.payloads_of_form(
                    connection, form_id, wanted, after, _COLUMNS_PAGE
                )
            if not page:
                return
            yield page
            after = page[-1].id

    async def with_files(
        self, form_id: str, wanted: Filter
    ) -> AsyncIterator[Sequence[tuple[SubmissionRow, Sequence[FileRow]]]]:
        """Submissions of a form, which the caller knows to be the principal's, oldest first, some
        at a time."""
        async for page in self._pages(store.page_of_form, form_id, wanted, _JSON_PAGE):
            files = await self.files_of([row.id for row in page])
            yield [(row, files.get(row.id, ())) for row in page]

    async def _pages(
        self,
        read: Callable[[Connection, str, Filter, str, int], Awaitable[Sequence[Row]]],
        form_id: str,
        wanted: Filter,
        size: int,
    ) -> AsyncIterator[Sequence[Row]]:
        after = ""
        while True:
            # A transaction per page: none stays open while a slow client reads.
            async with self._database.read() as connection:
                page = await read(connection, form_id, wanted, after, size)
            if not page:
                return
            yield page
            after = page[-1].id


async def _hold_one(connection: Connection, principal: Principal, id: str) -> str:
    """The real id of a submission, held until the transaction ends. Raises Rejected(NOT_FOUND)."""
    held, _ = await _hold(connection, principal, [id] if is_id(id, "sub") else [])
    if not held:
        raise missing("submission")
    return held[0]


async def _hold(
    connection: Connection, principal: Principal, ids: Sequence[str]
) -> tuple[list[str], Done]:
    """The real ids of those that there are, held until the transaction ends."""
    real = await store.real_ids(connection, ids)
    held = await store.hold_submissions(connection, principal, set(real.values()))
    return sorted(held), Done(len(held), [id for id in real if real[id] not in held])


async def _file(
    connection: Connection,
    principal: Principal,
    ids: Sequence[str],
    changes: Mapping[str, Any],
    now_ms: int,
) -> None:
    """Files submissions. What is received for the first time goes out to whom its form tells; what
    was received before has gone out already."""
    status = changes.get("status")
    if status is not None:
        released = await store.begin_delivery(connection, ids, status, now_ms)
        for form_id, released_ids in released.items():
            await outbox.add_released(
                connection, principal.account_id, form_id, released_ids, now_ms
            )
    await store.file_as(connection, ids, status, changes.get("read"))


async def _delete(connection: Connection, ids: Sequence[str]) -> list[str]:
    """The keys of the files that are to be deleted after the commit."""
    keys = await file_store.delete_files_of_submissions(connection, ids)
    await remove_of_submissions(connection, ids)
    await store.delete_submissions(connection, ids)
    return keys
