"""Reads what a request carries into the model that an operation declares."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from contracts.problems import Problem, Rejected

BODY_MAX_BYTES = 1024 * 1024
CONTENT_TYPE = "application/octet-stream"
"""What a body is that is the bytes of a file."""
_ERRORS_MAX = 100


@dataclass(frozen=True, slots=True)
class Content:
    """A body that is not read yet: its ``size`` in bytes, if the request says it, and the bytes
    themselves, once. They raise Rejected(BAD_BODY) if the client goes away before their end."""

    size: int | None
    chunks: AsyncIterator[bytes]


def parse_query(model: type[BaseModel], request: Request) -> BaseModel:
    """The query. Raises Rejected: VALIDATION_ERROR."""
    return validated(model, dict(request.query_params))


async def parse_body(
    model: type[BaseModel],
    request: Request,
    *,
    is_optional: bool = False,
    plain_member: str | None = None,
) -> BaseModel:
    """The JSON body, or one of ``text/plain`` as the model's ``plain_member``. One that
    ``is_optional`` may be left out.

    Raises:
        Rejected: UNSUPPORTED_MEDIA_TYPE, BODY_TOO_LARGE, BAD_BODY, VALIDATION_ERROR.
    """
    media_type = _media_type(request)
    if plain_member is not None and media_type == "text/plain":
        content = await _read_body(request)
        return validated(model, {plain_member: content.decode(errors="replace").strip()})
    if is_optional and not media_type and not await _read_body(request):
        return validated(model, {})
    if media_type != "application/json":
        raise Rejected(
            Problem.UNSUPPORTED_MEDIA_TYPE, "Send the body as JSON: Content-Type: application/json"
        )
    content = await _read_body(request)
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise Rejected(Problem.BAD_BODY, f"The body is not valid JSON: {error.msg}.") from None
    return validated(model, document)


def content_of(request: Request) -> Content:
    """The body as it comes, however long it is. Raises Rejected: UNSUPPORTED_MEDIA_TYPE."""
    if _media_type(request) != CONTENT_TYPE:
        raise Rejected(
            Problem.UNSUPPORTED_MEDIA_TYPE,
            f"Send the file itself as the body: Content-Type: {CONTENT_TYPE}",
        )
    return Content(_declared_size(request), _chunks(request))


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    try:
        async for chunk in request.stream():
            yield chunk
    except ClientDisconnect:
        raise _ended_early() from None


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _declared_size(request: Request) -> int | None:
    declared = request.headers.get("content-length", "")
    return int(declared) if declared.isdecimal() else None


def _ended_early() -> Rejected:
    return Rejected(Problem.BAD_BODY, "The body ended before its time.")


async def _read_body(request: Request) -> bytes:
    too_large = Rejected(
        Problem.BODY_TOO_LARGE, f"A request body may have {BODY_MAX_BYTES} bytes at most."
    )
    if (_declared_size(request) or 0) > BODY_MAX_BYTES:
        raise too_large
    content = bytearray()
    try:
        async for chunk in request.stream():
            content += chunk
            if len(content) > BODY_MAX_BYTES:
                raise too_large
    except ClientDisconnect:
        raise _ended_early() from None
    return bytes(content)


def validated(model: type[BaseModel], document: Any) -> BaseModel:
    """What a client sent, as a model. Raises Rejected: VALIDATION_ERROR."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise _rejection(error) from None


def _rejection(error: ValidationError) -> Rejected:
    complaints = error.errors(include_url=False, include_input=False, include_context=False)
    errors = [
        {
            "field": ".".join(map(str, complaint["loc"])),
            "code": complaint["type"],
            "message": _message(complaint["type"], complaint["msg"]),
        }
        for complaint in complaints[:_ERRORS_MAX]
    ]
    first = errors[0]
    detail = f"{first['field']}: {first['message']}" if first["field"] else first["message"]
    return Rejected(Problem.VALIDATION_ERROR, detail, errors=errors)


def _message(code: str, message: str) -> str:
    if code == "extra_forbidden":
        return "There is no such member, or it cannot be set here."
    return message
