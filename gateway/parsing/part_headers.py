"""Reads the headers of a part of a multipart form."""

from dataclasses import dataclass

from gateway.parsing.charsets import find_codec
from gateway.parsing.fields import bad_body, unsupported
from gateway.parsing.header_parameters import (
    decode_extended,
    parse_disposition,
    parse_file_type,
    parse_media_type,
)

_IDENTITY_ENCODINGS = ("7bit", "8bit", "binary")


@dataclass(frozen=True, slots=True)
class FileHeaders:
    """What a part says of its file: the names as bytes in a charset that the form decides, or
    ``extended_name``, which came with its own. ``is_named`` tells a file from an input that may
    have been left empty."""

    filename: bytes
    extended_name: str | None
    content_type: str
    is_named: bool


@dataclass(frozen=True, slots=True)
class PartHeaders:
    """What a part says of itself. ``codec`` is the one that its own type names; ``file`` is None
    for a field."""

    name: bytes
    codec: str | None
    file: FileHeaders | None


def read_part_headers(pairs: list[tuple[str, str]]) -> PartHeaders:
    """The headers of a part, their bytes as Latin-1. Raises 400 and 415."""
    headers = dict(pairs)
    if len(headers) < len(pairs):
        raise bad_body("A part of the multipart body has the same header twice.")
    try:
        parameters = parse_disposition(headers["Content-Disposition"])
    except ValueError as error:
        raise bad_body(f"The Content-Disposition of a part is {error}.") from None
    if "name" not in parameters:
        raise bad_body("A part of the multipart body has no name; give every field one.")
    encoding = headers.get("Content-Transfer-Encoding", "8bit").strip(" \t").lower()
    if encoding not in _IDENTITY_ENCODINGS:
        raise bad_body("A part has a Content-Transfer-Encoding; send it as it is (8bit).")
    name = parameters["name"].encode("latin-1")
    content_type = headers.get("Content-Type", "")
    if "filename" in parameters or "filename*" in parameters:
        return PartHeaders(name, None, _read_file(parameters, content_type))
    return PartHeaders(name, _read_codec(content_type) if content_type else None, None)


def _read_file(parameters: dict[str, str], content_type: str) -> FileHeaders:
    plain = parameters.get("filename", "")
    extended = parameters.get("filename*")
    decoded = decode_extended(extended) if extended is not None else None
    return FileHeaders(
        (plain or extended or "").encode("latin-1"),
        decoded,
        parse_file_type(content_type),
        bool(plain) or extended is not None,
    )


def _read_codec(content_type: str) -> str | None:
    """The codec that a field's type names, None if it names none; raises for a type not read."""
    media_type, parameters = parse_media_type(content_type)
    if media_type.startswith("multipart/"):
        raise bad_body("A part of the multipart body is itself a multipart; send each part singly.")
    label = parameters.get("charset")
    codec = label and find_codec(label)
    if label and not codec:
        raise unsupported("The charset of a part is not known; use UTF-8.")
    return codec
