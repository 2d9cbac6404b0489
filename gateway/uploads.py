"""The files of an accepted post: whether the form takes them, and their way into the store."""

import asyncio
from collections.abc import Sequence

from contracts.files import object_key, safe_name
from contracts.ids import new_id
from contracts.problems import Problem, Rejected
from contracts.submissions import StoredFile
from gateway.staging import Staging, Upload
from gateway.upstream import Upstream, UpstreamUnavailable, unavailable

__all__ = ["Staging", "Upload", "check_uploads", "store_files"]

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


async def store_files(
    upstream: Upstream,
    form_id: str,
    submission_id: str,
    received_at: int,
    uploads: Sequence[Upload],
) -> tuple[StoredFile, ...]:
    """Puts the files of a submission into the store, some at once; they keep their order.

    Files without a submission that names them are swept by the backend.

    Raises:
        Rejected: UNAVAILABLE, if one of them cannot be stored now.
    """
    turns = asyncio.Semaphore(_AT_ONCE)

    async def store(index: int, upload: Upload) -> StoredFile:
        key = object_key(form_id, submission_id, received_at, index, upload.filename)
        async with turns:
            await upstream.put_file(key, upload)
        return StoredFile(
            id=new_id("fil", received_at),
            field=upload.field,
            name=safe_name(upload.filename),
            size=upload.size,
            content_type=upload.content_type,
            sha256=upload.sha256,
            object_key=key,
        )

    tasks = [asyncio.create_task(store(*numbered)) for numbered in enumerate(uploads)]
    try:
        return tuple(await asyncio.gather(*tasks))
    except UpstreamUnavailable as error:
        raise unavailable("The files could not be stored right now. Try again in a moment.") from (
            error
        )
    finally:
        # None may read on while its bytes are being discarded.
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
