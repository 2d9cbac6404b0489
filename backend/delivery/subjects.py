"""What a delivery is about, read anew at each attempt: nothing of a submission is kept outside its
own row, so that what is deleted is deleted."""

from collections.abc import Sequence
from dataclasses import dataclass

from backend.access import EVERYTHING
from backend.db import Connection
from backend.forms.store import FormRow, find_form
from backend.submissions.file_store import FileRow, files_of
from backend.submissions.store import SubmissionRow, rows_of


@dataclass(frozen=True, slots=True)
class Subject:
    """A submission, its form, and its files in the order of the form."""

    submission: SubmissionRow
    form: FormRow
    files: Sequence[FileRow]


async def find_subject(
    connection: Connection, account_id: str, submission_id: str
) -> Subject | None:
    """The subject; None if the submission or its form is gone."""
    rows = await rows_of(connection, [submission_id])
    if not rows:
        return None
    form = await find_form(connection, account_id, EVERYTHING, rows[0].form_id)
    if form is None:
        return None
    files = await files_of(connection, [submission_id])
    return Subject(rows[0], form, files.get(submission_id, ()))
