"""HTTP of a submission's files."""

import re
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from backend.operations import Call, Operation
from backend.services import Services
from backend.submissions.file_store import FileRow
from backend.submissions.links import FileLinks
from contracts.problems import Problem

_NOT_PLAIN = re.compile(r'[^ -~]|["\\%]')


class FileQuery(BaseModel):
    """A link's signature, instead of a credential."""

    model_config = ConfigDict(extra="forbid")

    expires: int | None = Field(None, description="When the link ends, in Unix seconds.")
    signature: str | None = Field(None, description="As the file's `url` has it.")


class File(BaseModel):
    """A file of a submission."""

    id: str
    field: str = Field(description="The name of the input.")
    name: str = Field(description="What the visitor's file was called, made safe.")
    size: int = Field(description="Bytes.")
    content_type: str = Field(description="As the visitor's browser declared it; do not trust it.")
    sha256: str = Field(description="The digest of its bytes, in hex.")
    url: str = Field(description="A link that works without a credential for 15 minutes.")

    @classmethod
    def of(cls, row: FileRow, links: FileLinks) -> "File":
        """The answer for a row."""
        return cls(
            id=row.id,
            field=row.field,
            name=row.name,
            size=row.size,
            content_type=row.content_type,
            sha256=row.sha256,
            url=links.url(row.submission_id, row.id),
        )


async def get_file(call: Call) -> Response:
    query: FileQuery = call.query
    # One that is there has been verified, or the call would not have come this far.
    principal = call.principal if query.signature is None else None
    submission_id, id = call.path["submission_id"], call.path["file_id"]
    row, content = await call.services.submissions.open_file(submission_id, id, principal)
    return StreamingResponse(content.chunks, headers=download_headers(row, content.size))


def download_headers(row: FileRow, size: int) -> dict[str, str]:
    """What makes a browser save the file, whatever it is, and never run it."""
    return {
        "Content-Type": row.content_type,
        "Content-Length": str(size),
        "Content-Disposition": attachment(row.name),
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox; default-src 'none'",
    }


def attachment(name: str) -> str:
    """``Content-Disposition`` with the name twice (RFC 6266): in ASCII for old clients, then all of
    it."""
    plain = _NOT_PLAIN.sub("_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _admits(services: Services, request: Request) -> bool:
    return services.links.admits(request)


operations = (
    Operation(
        method="GET",
        path="/v1/submissions/{submission_id}/files/{file_id}",
        handler=get_file,
        summary="Download a file of a submission",
        right="submissions:read",
        admits=_admits,
        query=FileQuery,
        media_type="*/*",
        problems=(Problem.UNAVAILABLE,),
    ),
)
