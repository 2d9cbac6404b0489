"""HTTP of submissions."""

from collections.abc import Sequence
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response, StreamingResponse

from backend.api import Body, Call, Operation
from backend.paging import Page, PageQuery, cut
from backend.schemas import Moment, Time, parse_moment, without_defaults
from backend.submissions.file_store import FileRow
from backend.submissions.files import File
from backend.submissions.links import FileLinks
from backend.submissions.store import Filter, SubmissionRow
from contracts.runtime.clock import iso
from contracts.submissions import SubmissionStatus


class SubmissionQuery(PageQuery):
    """Which submissions of a form to list."""

    status: Literal["received", "spam", "held", "all"] = "received"
    since: Moment | None = Field(None, description="Received at this time or later.")
    until: Moment | None = Field(None, description="Received before this time.")

    def filter(self) -> Filter:
        """The filter these parameters mean."""
        return Filter(
            status=None if self.status == "all" else self.status,
            since=None if self.since is None else parse_moment(self.since),
            until=None if self.until is None else parse_moment(self.until),
        )


class TraceRow(BaseModel):
    """One check of a post, in the order in which they ran."""

    check: str = Field(examples=["rate limit"])
    verdict: str = Field(examples=["admitted"])
    microseconds: int = Field(description="Since the check before.")


class DecisionTrace(BaseModel):
    """How the post came to be accepted."""

    checks: list[TraceRow]
    charged: int = Field(description="Units of the monthly quota that it cost.")


class ChangeSubmission(Body):
    """What to change: where the submission is filed. Filing one that is held as received releases
    it."""

    model_config = ConfigDict(json_schema_extra=without_defaults)

    status: Literal["received", "spam", "held"] = "received"


class Submission(BaseModel):
    """An accepted post."""

    id: str
    form_id: str
    status: SubmissionStatus
    payload: dict[str, Any] = Field(
        description="The visitor's fields: each a string, or a list of strings if repeated.",
        examples=[{"email": "ada@example.com", "topic": ["sales", "press"]}],
    )
    files: list[File] = Field(description="In the order of the form.")
    meta: dict[str, Any] = Field(
        description="What is known of the post: `ip`, `user_agent`, `referrer`; `key_id` if an "
        "API key posted it."
    )
    trace: DecisionTrace
    received_at: Time

    @classmethod
    def of(cls, row: SubmissionRow, files: Sequence[FileRow], links: FileLinks) -> "Submission":
        """The answer for a row and those of its files."""
        meta = orjson.loads(row.meta)
        if row.key_id is not None:
            meta["key_id"] = row.key_id
        return cls(
            id=row.id,
            form_id=row.form_id,
            status=SubmissionStatus(row.status),
            payload=orjson.loads(row.payload),
            files=[File.of(file, links) for file in files],
            meta=meta,
            trace=DecisionTrace(checks=_trace_rows(row.trace), charged=row.charged),
            received_at=iso(row.received_at),
        )


def _trace_rows(text: str) -> list[TraceRow]:
    return [
        TraceRow(check=check, verdict=verdict, microseconds=microseconds)
        for check, verdict, microseconds in orjson.loads(text)
    ]


class SubmissionList(Page[Submission]):
    """A page of submissions."""


async def list_submissions(call: Call) -> SubmissionList:
    query: SubmissionQuery = call.query
    before = query.before("sub")
    form = await call.services.forms.get(call.principal, call.path["form_id"])
    rows = await call.services.submissions.list(form.id, query.filter(), before, query.limit + 1)
    page, next_cursor = cut(rows, query.limit)
    return SubmissionList(data=await _with_files(call, page), next_cursor=next_cursor)


async def get_submission(call: Call) -> Submission:
    row = await call.services.submissions.get(call.principal, call.path["submission_id"])
    [submission] = await _with_files(call, [row])
    return submission


async def change_submission(call: Call) -> Submission:
    if "status" in call.body.model_fields_set:
        id, status = call.path["submission_id"], SubmissionStatus(call.body.status)
        await call.services.submissions.file_as(call.principal, id, status)
    return await get_submission(call)


async def _with_files(call: Call, rows: Sequence[SubmissionRow]) -> list[Submission]:
    files = await call.services.submissions.files_of([row.id for row in rows])
    return [Submission.of(row, files.get(row.id, ()), call.services.links) for row in rows]


async def delete_submission(call: Call) -> None:
    await call.services.submissions.delete(call.principal, call.path["submission_id"])


async def export_submissions_csv(call: Call) -> Response:
    form = await call.services.forms.get(call.principal, call.path["form_id"])
    export = await call.services.submissions.export(form.id)
    return StreamingResponse(
        export.chunks(),
        media_type="text/csv",
        headers={
            "Content-Disposition": f'attachment; filename="{form.slug}-submissions.csv"',
            "X-Content-Type-Options": "nosniff",
        },
    )


operations = (
    Operation(
        method="GET",
        path="/v1/forms/{form_id}/submissions",
        handler=list_submissions,
        summary="List a form's submissions, newest first",
        right="submissions:read",
        query=SubmissionQuery,
        answer=SubmissionList,
    ),
    Operation(
        method="GET",
        path="/v1/forms/{form_id}/submissions.csv",
        handler=export_submissions_csv,
        summary="Export all submissions of a form as CSV, oldest first",
        right="forms:export",
        media_type="text/csv",
    ),
    Operation(
        method="GET",
        path="/v1/submissions/{submission_id}",
        handler=get_submission,
        summary="Read a submission",
        right="submissions:read",
        answer=Submission,
    ),
    Operation(
        method="PATCH",
        path="/v1/submissions/{submission_id}",
        handler=change_submission,
        summary="File a submission as received, spam or held",
        right="submissions:write",
        body=ChangeSubmission,
        answer=Submission,
    ),
    Operation(
        method="DELETE",
        path="/v1/submissions/{submission_id}",
        handler=delete_submission,
        summary="Delete a submission",
        right="submissions:delete",
        status=204,
    ),
)
