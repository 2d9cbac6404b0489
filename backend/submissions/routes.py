"""HTTP of submissions."""

from collections.abc import Mapping, Sequence
from typing import Any

from backend.operations import Call, Operation
from backend.paging import cursor_after
from backend.submissions.schemas import (
    AllSubmissionsQuery,
    BulkChange,
    BulkReport,
    ChangeSubmission,
    CountQuery,
    NeighbourQuery,
    Neighbours,
    Submission,
    SubmissionCount,
    SubmissionList,
    SubmissionQuery,
)
from backend.submissions.store import Forms, SubmissionRow

_MARKS: Mapping[str, Mapping[str, Any]] = {
    "mark_received": {"status": "received"},
    "mark_spam": {"status": "spam"},
    "mark_read": {"read": True},
    "mark_unread": {"read": False},
}


async def list_submissions(call: Call) -> SubmissionList:
    form = await call.services.forms.get(call.principal, call.path["form_id"])
    return await _list(call, Forms(call.principal, form.id))


async def list_all_submissions(call: Call) -> SubmissionList:
    return await _list(call, Forms(call.principal, call.query.form_id))


async def _list(call: Call, among: Forms) -> SubmissionList:
    query: SubmissionQuery = call.query
    found = await call.services.submissions.find(
        among, query.filter(), query.query(), query.before("sub"), query.limit
    )
    return SubmissionList(
        data=await _documents(call, found.rows), next_cursor=cursor_after(found.next_before)
    )


async def count_submissions(call: Call) -> SubmissionCount:
    query: CountQuery = call.query
    form = await call.services.forms.get(call.principal, call.path["form_id"])
    counts = await call.services.submissions.count(form.id, query.filter())
    return SubmissionCount(
        received=counts.get("received", 0), held=counts.get("held", 0), spam=counts.get("spam", 0)
    )


async def get_submission(call: Call) -> Submission:
    row = await call.services.submissions.get(call.principal, call.path["submission_id"])
    [submission] = await _documents(call, [row])
    return submission


async def get_neighbours(call: Call) -> Neighbours:
    query: NeighbourQuery = call.query
    newer, older = await call.services.submissions.neighbours(
        Forms(call.principal, query.form_id), query.filter(), call.path["submission_id"]
    )
    return Neighbours(newer=newer, older=older)


async def change_submission(call: Call) -> Submission:
    changes = call.body.model_dump(exclude_unset=True)
    if changes:
        id = call.path["submission_id"]
        await call.services.submissions.change(call.principal, id, changes)
    return await get_submission(call)


async def _documents(call: Call, rows: Sequence[SubmissionRow]) -> list[Submission]:
    ids = [row.id for row in rows]
    files = await call.services.submissions.files_of(ids)
    deliveries, waiting = await call.services.deliveries.of_submissions(ids)
    return [
        Submission.of(
            row,
            files.get(row.id, ()),
            call.services.links,
            deliveries.get(row.id, ()),
            is_waiting=row.id in waiting,
        )
        for row in rows
    ]


async def delete_submission(call: Call) -> None:
    await call.services.submissions.delete(call.principal, call.path["submission_id"])


async def change_submissions(call: Call) -> BulkReport:
    body: BulkChange = call.body
    submissions = call.services.submissions
    if body.action == "delete":
        call.services.access.require(call.principal, "submissions:delete")
        done = await submissions.delete_all(call.principal, body.ids)
    else:
        done = await submissions.change_all(call.principal, body.ids, _MARKS[body.action])
    return BulkReport(done=done.count, missing=done.missing)


operations = (
    Operation(
        method="GET",
        path="/v1/forms/{form_id}/submissions",
        handler=list_submissions,
        summary="List or search a form's submissions, newest first",
        right="submissions:read",
        query=SubmissionQuery,
        answer=SubmissionList,
    ),
    Operation(
        method="GET",
        path="/v1/forms/{form_id}/submissions/count",
        handler=count_submissions,
        summary="Count a form's submissions by how they are filed",
        right="submissions:read",
        query=CountQuery,
        answer=SubmissionCount,
    ),
    Operation(
        method="GET",
        path="/v1/submissions",
        handler=list_all_submissions,
        summary="List or search the submissions of all forms, newest first",
        right="submissions:read",
        query=AllSubmissionsQuery,
        answer=SubmissionList,
    ),
    Operation(
        method="POST",
        path="/v1/submissions/bulk",
        handler=change_submissions,
        summary="Mark or delete many submissions",
        right="submissions:write",
        body=BulkChange,
        answer=BulkReport,
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
        method="GET",
        path="/v1/submissions/{submission_id}/neighbours",
        handler=get_neighbours,
        summary="Find what comes before and after a submission in a list",
        right="submissions:read",
        query=NeighbourQuery,
        answer=Neighbours,
    ),
    Operation(
        method="PATCH",
        path="/v1/submissions/{submission_id}",
        handler=change_submission,
        summary="Mark a submission as spam or not, read or not; release one that is held",
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
