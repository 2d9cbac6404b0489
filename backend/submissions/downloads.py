"""HTTP of exports: a whole form, streamed in memory that does not grow with it."""

from collections.abc import AsyncIterator, Awaitable, Callable

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from backend.forms.store import FormRow
from backend.operations import Call, Operation
from backend.submissions.files import attachment
from backend.submissions.schemas import ExportQuery, Submission


class Download(StreamingResponse):
    """A file to save. ``begin`` is awaited before the answer starts, so that what it raises is
    still a refusal; for ``HEAD`` nothing is done but to say what there would be."""

    def __init__(
        self,
        name: str,
        media_type: str,
        chunks: AsyncIterator[bytes],
        begin: Callable[[], Awaitable[None]],
    ) -> None:
        headers = {
            "Content-Disposition": attachment(name),
            "X-Content-Type-Options": "nosniff",
        }
        super().__init__(chunks, media_type=media_type, headers=headers)
        self._begin = begin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "HEAD":
            start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            await send(start)
            await send({"type": "http.response.body", "body": b""})
            return
        await self._begin()
        await super().__call__(scope, receive, send)


async def export_submissions_csv(call: Call) -> Download:
    form = await call.services.forms.get(call.principal, call.path["form_id"])
    export = call.services.submissions.csv(form.id, call.query.filter())

    async def begin() -> None:
        await export.prepare()
        await _note(call, form, "csv")

    return Download(f"{form.slug}-submissions.csv", "text/csv", export.chunks(), begin)


async def export_submissions_json(call: Call) -> Download:
    form = await call.services.forms.get(call.principal, call.path["form_id"])
    name = f"{form.slug}-submissions.json"
    return Download(name, "application/json", _array(call, form), lambda: _note(call, form, "json"))


async def _note(call: Call, form: FormRow, format: str) -> None:
    wanted = call.query.filter()
    await call.services.submissions.note_export(call.principal, form.id, wanted, format)


async def _array(call: Call, form: FormRow) -> AsyncIterator[bytes]:
    """A JSON array of the documents that the list has, a page at a time."""
    links, separator = call.services.links, b"["
    async for page in call.services.submissions.with_files(form.id, call.query.filter()):
        ids = [row.id for row, _ in page]
        deliveries, waiting = await call.services.deliveries.of_submissions(ids)
        documents = [
            Submission.of(
                row, files, links, deliveries.get(row.id, ()), is_waiting=row.id in waiting
            )
            for row, files in page
        ]
        yield separator + b",\n".join(one.model_dump_json().encode() for one in documents)
        separator = b",\n"
    yield b"]\n" if separator == b",\n" else b"[]\n"


operations = (
    Operation(
        method="GET",
        path="/v1/forms/{form_id}/submissions.csv",
        handler=export_submissions_csv,
        summary="Export the submissions of a form as CSV, oldest first",
        right="forms:export",
        query=ExportQuery,
        media_type="text/csv",
    ),
    Operation(
        method="GET",
        path="/v1/forms/{form_id}/submissions.json",
        handler=export_submissions_json,
        summary="Export the submissions of a form as a JSON array, oldest first",
        right="forms:export",
        query=ExportQuery,
    ),
)
