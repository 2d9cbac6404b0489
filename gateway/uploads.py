"""The files of an accepted post: whether the form takes them, and their way into the store."""

import asyncio
from collections.abc import Sequence

from contracts.files import object_key, safe_name
from contracts.ids import new_id
from contracts.problems import Problem, Rejected
from contracts.submissions import StoredFile
from gateway.staging import Staging, Upload
from gateway.upstream import Content, Upstream

__all__ = ["Staging", "Upload", "check_uploads", "name_files", "send_files"]

_AT_ONCE = 4


def check_uploads(files: Sequence[Upload], file_bytes: int) -> None:
    """Raises Rejected if a form whose files may have ``file_bytes`` does not take these."""
    if not files:
        return
    if file_bytes == 0:
        raise Rejected(
            Problem.UPLOADS_NOT_ALLOWED, "This form does not accept files; send it without them."
        )
    for file in files:
        if file.is_oversize:
            raise Rejected(
                Problem.FILE_TOO_LARGE,
                f'The file "{safe_name(file.filename)}" is larger than {file_bytes} bytes.',
                limit=file_bytes,
            )


def name_files(
    form_id: str, submission_id: str, received_at: int, uploads: Sequence[Upload]
) -> tuple[StoredFile, ...]:
    """What the submission says of its files, in their order, before they are in the store."""
    return tuple(
        StoredFile(
            id=new_id("fil", received_at),
            field=upload.field,
            name=safe_name(upload.filename),
            size=upload.size,
            content_type=upload.content_type,
            sha256=upload.sha256,
            object_key=object_key(form_id, submission_id, received_at, index, upload.filename),
        )
        for index, upload in enumerate(uploads)
    )


async def send_files(
    upstream: Upstream, files: Sequence[StoredFile], contents: Sequence[Content]
) -> None:
    """Puts the files of a submission into the store, some at once.

    Files without a submission that names them are swept by the backend.

    Raises:
        UpstreamUnavailable: one of them cannot be stored now.
    """
    if not files:
        return
    if len(files) == 1:
        await upstream.put_file(files[0].object_key, contents[0])
        return
    turns = asyncio.Semaphore(_AT_ONCE)

    async def send(file: StoredFile, content: Content) -> None:
        async with turns:
            await upstream.put_file(file.object_key, content)

    tasks = [asyncio.create_task(send(*pair)) for pair in zip(files, contents, strict=True)]
    try:
        await asyncio.gather(*tasks)
    finally:
        # None may read on while its bytes are being discarded.
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
