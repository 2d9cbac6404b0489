"""Takes files from gateways, before the submissions that name them."""

from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect, Request

from backend.file_port import BadKey, ContentMismatch
from backend.services import Services
from contracts.files import is_object_key
from contracts.problems import Problem, Rejected
from contracts.small_files import MESSAGE_BYTES_MAX, decode_files


async def put_file(services: Services, request: Request) -> bytes:
    """Stores the body under the key of the path; after the answer it is durable.

    Raises:
        Rejected: BAD_BODY, if the body is not what ``Content-Length`` and ``x-content-sha256`` say,
            or the key is none: nothing is stored. UNAVAILABLE.
    """
    key = request.path_params["key"]
    size = request.headers.get("content-length", "")
    sha256 = request.headers.get("x-content-sha256", "")
    if not is_object_key(key) or not size.isdecimal():
        raise Rejected(Problem.BAD_BODY, "The key or the length of the file is not valid.")
    try:
        await services.files.put(key, _content(request), int(size), sha256)
    except (BadKey, ContentMismatch, ClientDisconnect):
        raise Rejected(Problem.BAD_BODY, "The file is not what its headers say.") from None
    return b"{}"


async def put_files(services: Services, request: Request) -> bytes:
    """Stores the small files of the body; after the answer they are durable.

    Raises:
        UndecodableMessage: nothing is stored.
        Rejected: BAD_BODY, if one of them is not what the message says; the others may be stored.
            UNAVAILABLE.
    """
    size = request.headers.get("content-length", "")
    if not size.isdecimal() or int(size) > MESSAGE_BYTES_MAX:
        raise Rejected(Problem.BAD_BODY, f"Files have {MESSAGE_BYTES_MAX} bytes at most together.")
    try:
        files = decode_files(await request.body())
        if not all(is_object_key(file.object_key) for file in files):
            raise Rejected(Problem.BAD_BODY, "The key of a file is not valid.")
        await services.files.put_all(files)
    except (BadKey, ContentMismatch, ClientDisconnect):
        raise Rejected(Problem.BAD_BODY, "A file is not what the message says.") from None
    return b"{}"


async def _content(request: Request) -> AsyncIterator[bytes]:
    async for chunk in request.stream():
        yield chunk
