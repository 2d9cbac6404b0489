"""Rules of submissions: whose they are, and how they leave."""

from collections.abc import AsyncIterator, Sequence

from backend.access import Principal
from backend.answers import missing
from backend.db import Database
from backend.submissions import store
from backend.submissions.export import CsvExport
from backend.submissions.store import ExportRow, Filter, SubmissionRow
from contracts.ids import is_id

EXPORT_PAGE = 500


class SubmissionService:
    """The submissions to an account's forms."""

    def __init__(self, database: Database) -> None:
        self._database = database

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

    async def delete(self, principal: Principal, id: str) -> None:
        """Deletes a submission. Raises Rejected(NOT_FOUND)."""
        if not is_id(id, "sub"):
            raise missing("submission")
        async with self._database.write() as connection:
            if not await store.delete_submission(connection, principal.account_id, id):
                raise missing("submission")

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
