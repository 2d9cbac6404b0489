"""HTTP of imports: submissions, many at once, and then their files, one by one."""

from dataclasses import asdict

from backend.imports.schemas import ImportedFile, ImportReport, ImportSubmissions
from backend.operations import Call, Operation
from backend.requests import Content
from backend.submissions.files import File
from contracts.problems import Problem


async def import_submissions(call: Call) -> ImportReport:
    request: ImportSubmissions = call.body
    outcome = await call.services.imports.run(
        call.principal,
        call.path["form_id"],
        request.source,
        [submission.plain() for submission in request.submissions],
        is_dry_run=request.dry_run,
    )
    return ImportReport(dry_run=request.dry_run, **asdict(outcome))


async def import_file(call: Call) -> File:
    file: ImportedFile = call.query
    content: Content = call.content
    row = await call.services.imported_files.add(
        call.principal, call.path["submission_id"], file.plain(), content
    )
    return File.of(row, call.services.links)


operations = (
    Operation(
        method="POST",
        path="/v1/forms/{form_id}/submissions/import",
        handler=import_submissions,
        summary="Import submissions of another service, with their dates",
        right="submissions:write",
        body=ImportSubmissions,
        answer=ImportReport,
    ),
    Operation(
        method="POST",
        path="/v1/submissions/{submission_id}/files",
        handler=import_file,
        summary="Store a file of an imported submission; the same file again changes nothing",
        right="submissions:write",
        query=ImportedFile,
        takes_content=True,
        answer=File,
        problems=(
            Problem.CONFLICT,
            Problem.FILE_TOO_LARGE,
            Problem.UPLOADS_NOT_ALLOWED,
            Problem.UNAVAILABLE,
        ),
    ),
)
