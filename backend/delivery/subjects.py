"""What a delivery is about, read anew at each attempt: nothing of a submission is kept outside its
own row, so that what is deleted is deleted."""

from collections.abc import Sequence
from dataclasses import dataclass

from backend.forms.store import FormRow, find_form_in
from backend.submissions.file_store import FileRow, files_in
from backend.submissions.store import SubmissionRow, row_in
from backend.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Subject:
    """A submission, its form, and its files in the order of the form."""

    submission: SubmissionRow
    form: FormRow
    files: Sequence[FileRow]


def find_subject(transaction: Transaction, account_id: str, submission_id: str) -> Subject | None:
    """The subject; None if the submission or its form is gone."""
    found = row_in(transaction, submission_id)
    if found is None:
        return None
    submission, has_files = found
    form = find_form_in(transaction, account_id, submission.form_id)
    if form is None:
        return None
    return Subject(submission, form, files_in(transaction, submission_id) if has_files else ())
