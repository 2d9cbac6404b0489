"""Commands on submissions."""

from formflow.commands import LISTED, Command, Given, argument
from formflow.resources.shared import FORM, SINCE, UNTIL

_SUBMISSION = argument("submission", "The submission's id, sub_…")
_SEVERAL = argument("submissions", "Their ids, sub_…", type=list[str], member="ids")
_SUBMISSION_FILTERS = (
    Given("status", "received (otherwise), spam, held or all."),
    SINCE,
    UNTIL,
    Given("q", "Words that are in it."),
    Given("read", "Those read, or not read yet.", bool),
)
_SUBMISSION_COLUMNS = ("id", "received_at", "status", "read", "payload")

SUBMISSIONS = (
    Command(
        "list",
        "GET",
        "/v1/forms/{form}/submissions",
        "List a form's submissions, newest first.",
        (FORM, *_SUBMISSION_FILTERS),
        columns=_SUBMISSION_COLUMNS,
        limit=LISTED,
    ),
    Command(
        "search",
        "GET",
        "/v1/submissions",
        "List the submissions of all forms, newest first.",
        _SUBMISSION_FILTERS,
        columns=("form_id", *_SUBMISSION_COLUMNS),
        limit=LISTED,
    ),
    Command(
        "show",
        "GET",
        "/v1/submissions/{submission}",
        "Show a submission, its files, and how it was decided on.",
        (_SUBMISSION,),
    ),
    *(
        Command(
            action.replace("_", "-"),
            "POST",
            "/v1/submissions/bulk",
            help,
            (_SEVERAL,),
            always=(("action", action),),
        )
        for action, help in (
            ("mark_received", "File submissions as received; this releases held ones."),
            ("mark_spam", "File submissions as spam."),
            ("mark_read", "Mark submissions as read."),
            ("mark_unread", "Mark submissions as not read yet."),
        )
    ),
    Command(
        "delete",
        "POST",
        "/v1/submissions/bulk",
        "Delete submissions with their files.",
        (_SEVERAL,),
        asks="Delete {submissions}, for good?",
        always=(("action", "delete"),),
    ),
)
