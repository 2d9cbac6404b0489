"""Reads a post's body, whichever of the three types it is, within its limits.

What holds: a body is read in full or refused as a whole; its size is judged before the first byte
where the client says it, and again as bytes arrive; the same bytes give the same result however
they were cut into chunks; no text is replaced or dropped in silence.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import Any

from contracts.problems import Rejected
from gateway.charsets import UTF_8, find_codec
from gateway.fields import Body, BodyLimits, bad_body, too_large, unsupported
from gateway.header_parameters import parse_media_type
from gateway.json_object import parse_json_object
from gateway.multipart_form import MultipartForm
from gateway.urlencoded import parse_urlencoded

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
) -> Body:
    """The fields of the body that an ASGI ``receive`` delivers; the headers as they were sent.

    Raises ``Rejected``: 400 for what cannot be read, 413 over a limit or for a file, 415 for a
    type, charset or coding that is not read. Raises ``ClientDisconnected``.
    """
    _check_encoding(content_encoding)
    media_type, codec, boundary = _read_content_type(content_type)
    if content_length is not None and content_length > limits.body_bytes:
        raise _body_too_large(limits)
    if media_type == _MULTIPART:
        form = MultipartForm(boundary, codec, limits)
        await _read_chunks(receive, form.feed, content_length, limits)
        return form.finish()
    buffer = bytearray()
    await _read_chunks(receive, buffer.extend, content_length, limits)
    raw = bytes(buffer)
    if media_type == _JSON:
        parse = partial(parse_json_object, raw, limits)
    else:
        parse = partial(parse_urlencoded, raw, codec, limits)
    return parse() if len(raw) <= _OFF_LOOP_BYTES else await asyncio.to_thread(parse)


def _check_encoding(content_encoding: bytes | None) -> None:
    if content_encoding and content_encoding.strip().lower() != b"identity":
        raise unsupported("The body is encoded; send it without Content-Encoding.")


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


async def _read_chunks(
    receive: _Receive,
    take: Callable[[bytes], None],
    content_length: int | None,
    limits: BodyLimits,
) -> None:
    size = 0
    has_more = True
    while has_more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        chunk = message.get("body", b"")
        has_more = message.get("more_body", False)
        size += len(chunk)
        if size > limits.body_bytes:
            raise _body_too_large(limits)
        take(chunk)
    if content_length is not None and size != content_length:
        raise bad_body("The body is not as long as its Content-Length says; send all of it.")


def _body_too_large(limits: BodyLimits) -> Rejected:
    return too_large(f"The body is larger than {limits.body_bytes} bytes.")
