"""Rules of submissions: whose they are, and how they leave."""

from collections.abc import AsyncIterator, Mapping, Sequence

from backend.access import Principal
from backend.answers import missing
from backend.db import Database
from backend.files import FileStore, StoredObject, delete_quietly
from backend.submissions import file_store, store
from backend.submissions.export import CsvExport
from backend.submissions.file_store import FileRow
from backend.submissions.store import ExportRow, Filter, SubmissionRow
from contracts.ids import is_id
from contracts.runtime.telemetry import get_logger
from contracts.submissions import SubmissionStatus

_log = get_logger("backend")
EXPORT_PAGE = 500


class SubmissionService:
    """The submissions to an account's forms."""

    def __init__(self, database: Database, files: FileStore) -> None:
        self._database = database
        self._files = files

    async def list(
        self, form_id: str, wanted: Filter, before: str | None, limit: int
    ) -> Sequence[SubmissionRow]:
        """Submissions of a form, which the caller knows to be the principal's, newest first."""
        async with self._database.read() as connection:
            return await store.list_submissions(connection, form_id, wanted, before, limit)

    async def get(self, principal: Principal, id: str) -> SubmissionRow:
        """One submission. Raises Rejected(NOT_FOUND)."""
        if not is_id(id, "sub"):
            raise missing("submission")
        async with self._database.read() as connection:
            row = await store.find_submission(connection, principal.account_id, id)
        if row is None:
            raise missing("submission")
        return row

    async def files_of(self, ids: Sequence[str]) -> Mapping[str, Sequence[FileRow]]:
        """The files of each of these submissions, which the caller knows to be the principal's; a
        submission without any may be absent."""
        async with self._database.read() as connection:
            return await file_store.files_of(connection, ids)

    async def open_file(
        self, submission_id: str, id: str, account_id: str | None
    ) -> tuple[FileRow, StoredObject]:
        """A file and its content; with an account, only if the submission is the account's.

        Raises:
            Rejected: NOT_FOUND, UNAVAILABLE.
        """
        if not (is_id(submission_id, "sub") and is_id(id, "fil")):
            raise missing("file")
        async with self._database.read() as connection:
            row = await file_store.find_file(connection, submission_id, id, account_id)
        if row is None:
            raise missing("file")
        content = await self._files.get(row.object_key)
        if content is None:
            _log.error("a file has vanished from the store", file_id=id)
            raise missing("file")
        return row, content

    async def file_as(self, principal: Principal, id: str, status: SubmissionStatus) -> None:
        """Files a submission as received, spam or held. Raises Rejected(NOT_FOUND)."""
        if not is_id(id, "sub"):
            raise missing("submission")
        async with self._database.write() as connection:
            if not await store.set_status(connection, principal.account_id, id, status.value):
                raise missing("submission")

    async def delete(self, principal: Principal, id: str) -> None:
        """Deletes a submission with its files. Raises Rejected(NOT_FOUND)."""
        if not is_id(id, "sub"):
            raise missing("submission")
        account_id = principal.account_id
        async with self._database.write() as connection:
            keys = await file_store.delete_files_of_submissions(connection, account_id, [id])
            if not await store.delete_submission(connection, account_id, id):
                raise missing("submission")
        await delete_quietly(self._files, keys)

    async def export(self, form_id: str) -> CsvExport:
        """All submissions of a form, which the caller knows to be the principal's."""
        export = CsvExport(lambda: self._pages(form_id))
        await export.prepare()
        return export

    async def _pages(self, form_id: str) -> AsyncIterator[Sequence[ExportRow]]:
        after = ""
        while True:
            # A transaction per page: none stays open while a slow client reads.
            async with self._database.read() as connection:
                page = await store.page_of_form(connection, form_id, after, EXPORT_PAGE)
            if not page:
                return
            yield page
            after = page[-1].id
