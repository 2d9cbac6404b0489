"""HTTP of submissions."""

from typing import Any, Literal

import orjson
from pydantic import BaseModel, Field
from starlette.responses import Response, StreamingResponse

from backend.api import Call, Operation
from backend.paging import Page, PageQuery, cut
from backend.schemas import Moment, Time, parse_moment
from backend.submissions.store import Filter, SubmissionRow
from contracts.runtime.clock import iso
from contracts.submissions import SubmissionStatus


class SubmissionQuery(PageQuery):
    """Which submissions of a form to list."""

    status: Literal["received", "spam", "all"] = "received"
    since: Moment | None = Field(None, description="Received at this time or later.")
    until: Moment | None = Field(None, description="Received before this time.")

    def filter(self) -> Filter:
        """The filter these parameters mean."""
        return Filter(
            status=None if self.status == "all" else self.status,
            since=None if self.since is None else parse_moment(self.since),
            until=None if self.until is None else parse_moment(self.until),
        )


class Submission(BaseModel):
    """An accepted post."""

    id: str
    form_id: str
    status: SubmissionStatus
    payload: dict[str, Any] = Field(
        description="The visitor's fields: each a string, or a list of strings if repeated.",
        examples=[{"email": "ada@example.com", "topic": ["sales", "press"]}],
    )
    meta: dict[str, Any] = Field(
        description="What is known of the post: `ip`, `user_agent`, `referrer`; `key_id` if an "
        "API key posted it."
    )
    received_at: Time

    @classmethod
    def of(cls, row: SubmissionRow) -> "Submission":
        """The answer for a row."""
        meta = orjson.loads(row.meta)
        if row.key_id is not None:
            meta["key_id"] = row.key_id
        return cls(
            id=row.id,
            form_id=row.form_id,
            status=SubmissionStatus(row.status),
            payload=orjson.loads(row.payload),
            meta=meta,
            received_at=iso(row.received_at),
        )


class SubmissionList(Page[Submission]):
    """A page of submissions."""


async def list_submissions(call: Call) -> SubmissionList:
    query: SubmissionQuery = call.query
    before = query.before("sub")
    form = await call.services.forms.get(call.principal, call.path["form_id"])
    rows = await call.services.submissions.list(form.id, query.filter(), before, query.limit + 1)
    page, next_cursor = cut(rows, query.limit)
    return SubmissionList(data=[Submission.of(row) for row in page], next_cursor=next_cursor)


async def get_submission(call: Call) -> Submission:
    id = call.path["submission_id"]
    return Submission.of(await call.services.submissions.get(call.principal, id))


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
        method="DELETE",
        path="/v1/submissions/{submission_id}",
        handler=delete_submission,
        summary="Delete a submission",
        right="submissions:delete",
        status=204,
    ),
)
