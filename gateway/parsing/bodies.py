"""Reads a post's body, whichever of the three types it is, within its limits.

What holds: a body is read in full or refused as a whole, and of a refused one nothing is kept; its
size is judged before the first byte where the client says it, and again as bytes arrive; the same
bytes give the same result however they were cut into chunks; no text is replaced or dropped in
silence.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from functools import lru_cache, partial
from typing import Any

from contracts.problems import Rejected
from gateway.parsing.charsets import UTF_8, find_codec
from gateway.parsing.fields import Body, BodyLimits, bad_body, too_large, unsupported
from gateway.parsing.header_parameters import parse_media_type
from gateway.parsing.json_object import parse_json_object
from gateway.parsing.multipart_form import MultipartForm
from gateway.parsing.urlencoded import parse_urlencoded
from gateway.staging import CHUNK_BYTES, Staging

__all__ = ["Body", "BodyLimits", "ClientDisconnected", "read_body"]

_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

_URLENCODED = "application/x-www-form-urlencoded"
_MULTIPART = "multipart/form-data"
_JSON = "application/json"
_ACCEPTED = f"{_URLENCODED}, {_MULTIPART} or {_JSON}"

# Parsing the worst body of this size holds the event loop for some milliseconds; a larger one goes
# to a thread, which costs less than a tenth of a millisecond.
_OFF_LOOP_BYTES = 16_384


class ClientDisconnected(Exception):
    """The client went away before the body was whole; there is nobody to answer."""


async def read_body(
    receive: _Receive,
    *,
    content_type: bytes | None,
    content_length: int | None,
    content_encoding: bytes | None,
    limits: BodyLimits,
    staging: Staging,
) -> Body:
    """The body that an ASGI ``receive`` delivers; the headers as they were sent.

    Its files are kept in ``staging`` until the body is discarded, which is the caller's to do;
    nothing is kept if this raises.

    Raises ``Rejected``: 400 for what cannot be read, 413 over a limit, 415 for a type, charset or
    coding that is not read, 503 if there is no room for files. Raises ``ClientDisconnected``.
    """
    _check_encoding(content_encoding)
    media_type, codec, boundary = _read_content_type(content_type)
    if media_type == _MULTIPART:
        form = MultipartForm(boundary, codec, limits, staging)
        return await _read_form(form, _chunks(receive, content_length, limits.upload_bytes))
    raw = b"".join([chunk async for chunk in _chunks(receive, content_length, limits.body_bytes)])
    if media_type == _JSON:
        parse = partial(parse_json_object, raw, limits)
    else:
        parse = partial(parse_urlencoded, raw, codec, limits)
    return parse() if len(raw) <= _OFF_LOOP_BYTES else await asyncio.to_thread(parse)


def _check_encoding(content_encoding: bytes | None) -> None:
    if content_encoding and content_encoding.strip().lower() != b"identity":
        raise unsupported("The body is encoded; send it without Content-Encoding.")


@lru_cache(maxsize=256)
def _read_content_type(content_type: bytes | None) -> tuple[str, str | None, bytes]:
    """The type, the codec it names, and a multipart's boundary."""
    if not content_type:
        raise bad_body(f"The request has no Content-Type; send {_ACCEPTED}.")
    media_type, parameters = parse_media_type(content_type.decode("latin-1"))
    if media_type not in (_URLENCODED, _MULTIPART, _JSON):
        raise unsupported(f"Bodies of this type are not read; send {_ACCEPTED}.")
    codec = _find_named_codec(parameters.get("charset"))
    if media_type == _JSON and codec not in (None, UTF_8):
        raise unsupported("JSON is read in UTF-8 only; send it so.")
    boundary = parameters.get("boundary", "").encode("latin-1")
    if media_type == _MULTIPART and not boundary:
        raise bad_body("The Content-Type multipart/form-data names no boundary.")
    return media_type, codec, boundary


def _find_named_codec(label: str | None) -> str | None:
    if label is None:
        return None
    codec = find_codec(label)
    if codec is None:
        raise unsupported("The charset that Content-Type names is not known; use UTF-8.")
    return codec


async def _read_form(form: MultipartForm, chunks: AsyncIterator[bytes]) -> Body:
    try:
        async for chunk in chunks:
            # In pieces, because no more than one waits in memory for the disk.
            for start in range(0, len(chunk), CHUNK_BYTES):
                await form.feed(chunk[start : start + CHUNK_BYTES])
        return await form.finish()
    except BaseException:
        form.discard()
        raise


async def _chunks(
    receive: _Receive, content_length: int | None, size_max: int
) -> AsyncIterator[bytes]:
    """The chunks of the body, checked against the length it claims and the one it may have."""
    if content_length is not None and content_length > size_max:
        raise _body_too_large(size_max)
    size = 0
    has_more = True
    while has_more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        chunk: bytes = message.get("body", b"")
        has_more = message.get("more_body", False)
        size += len(chunk)
        if size > size_max:
            raise _body_too_large(size_max)
        yield chunk
    if content_length is not None and size != content_length:
        raise bad_body("The body is not as long as its Content-Length says; send all of it.")


def _body_too_large(size_max: int) -> Rejected:
    return too_large(f"The body is larger than {size_max} bytes.")
