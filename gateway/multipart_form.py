"""Reads ``multipart/form-data`` (RFC 7578) as it arrives, the same however it was cut.

One reading of each oddity. A preamble is refused but for one CRLF; only white space may follow the
closing boundary, which must be there; lines end in CRLF, never in LF alone. Refused are folded
headers, a header or parameter given twice, parts without a name, nested multiparts, base64 and
quoted-printable, and a wrong ``Content-Length`` of a part. A part with ``filename`` or
``filename*`` is a file, whatever else it says; ``name*`` says nothing.
"""

from dataclasses import dataclass, field
from typing import Any

from multipart import (  # type: ignore[import-untyped]
    MultipartError,
    MultipartSegment,
    ParserError,
    ParserLimitReached,
    PushMultipartParser,
)

from contracts.problems import Problem, Rejected
from gateway.charsets import (
    decode_text,
    decode_texts,
    find_codec,
    find_codec_in_fields,
)
from gateway.fields import (
    Body,
    BodyLimits,
    bad_body,
    gather_fields,
    too_large,
    too_many_fields,
    unsupported,
)
from gateway.header_parameters import parse_disposition, parse_media_type

_HEADER_BYTES = 8_192
_HEADER_COUNT = 8
_EXTRA_PARTS = 10
_CRLF = b"\r\n"
_WHITE_SPACE = b" \t\r\n"
_IDENTITY_ENCODINGS = ("7bit", "8bit", "binary")


@dataclass(slots=True)
class _Part:
    """One part: a field, or a file input that may still turn out to be left empty.

    ``codec`` is the one its own content type names.
    """

    name: bytes
    codec: str | None
    is_file: bool
    value: bytearray = field(default_factory=bytearray)


class _Parser(PushMultipartParser):  # type: ignore[misc]
    """The library's parser, bounding the headers of a part together and refusing bare CR and LF.

    It would strip a line end before a header's name, or refuse it, depending on where a chunk ends.
    """

    _header_bytes = 0

    def _on_segment_headerline(self, line: bytes) -> None:
        if b"\n" in line or b"\r" in line:
            raise ParserError("Invalid line break in segment header")
        self._header_bytes += len(line) + len(_CRLF)
        if self._header_bytes > _HEADER_BYTES:
            raise ParserLimitReached("Maximum segment header length exceeded")
        super()._on_segment_headerline(line)

    def _create_segment(self, headerlist: list[tuple[str, str]]) -> Any:
        self._header_bytes = 0
        return super()._create_segment(headerlist)


class MultipartForm:
    """A form being received: ``feed`` every chunk, then ``finish``.

    Both raise 400 for what is malformed, 413 for what is over a limit or a file, and 415 for a
    part's charset that is not known.
    """

    def __init__(self, boundary: bytes, codec: str | None, limits: BodyLimits) -> None:
        self._codec = codec
        self._limits = limits
        self._delimiter = _CRLF + b"--" + boundary
        self._close = self._delimiter + b"--"
        self._held = b""
        self._is_started = False
        self._is_closed = False
        self._parts: list[_Part] = []
        self._part_count = 0
        try:
            self._parser = _Parser(
                boundary,
                max_header_size=_HEADER_BYTES,
                max_header_count=_HEADER_COUNT,
                header_charset="latin1",
                strict=True,
            )
        except ParserError as error:
            raise _malformed(str(error)) from None

    def feed(self, chunk: bytes) -> None:
        """Takes the next bytes of the body."""
        if self._is_closed:
            _check_epilogue(chunk)
            return
        data = self._held + chunk
        if not self._is_started:
            if len(data) < len(self._delimiter):
                self._held = data
                return
            data = self._start(data)
        self._split_at_close(data)

    def finish(self) -> Body:
        """The form, now that the body is whole."""
        if not self._is_closed:
            raise bad_body("The multipart body ends before its closing boundary; send all of it.")
        try:
            self._parser.close()
        except MultipartError as error:
            raise _malformed(str(error)) from None
        return self._decode()

    def _start(self, data: bytes) -> bytes:
        # With a CRLF in front the first boundary is like every other, also if it is the last.
        data = _CRLF + data.removeprefix(_CRLF)
        if not data.startswith(self._delimiter):
            raise bad_body("The multipart body does not start with the boundary of Content-Type.")
        self._is_started = True
        return data

    def _split_at_close(self, data: bytes) -> None:
        """Feeds the parser up to the closing boundary, keeping back what may be part of it.

        The library takes an epilogue in the chunk of the closing boundary for granted and refuses
        one in the next, even the usual CRLF.
        """
        end = data.find(self._close)
        self._is_closed = end >= 0
        cut = end + len(self._close) if self._is_closed else len(data) - len(self._close) + 1
        if cut <= 0:
            self._held = data
            return
        self._held = data[cut:]
        self._parse(data[:cut])
        if self._is_closed:
            _check_epilogue(self._held)

    def _parse(self, data: bytes) -> None:
        try:
            for event in self._parser.parse(data):
                if isinstance(event, MultipartSegment):
                    self._parts.append(self._open_part(event.headerlist))
                elif event is None:
                    self._close_part()
                else:
                    self._extend_part(event)
        except ParserLimitReached:
            raise _headers_too_large() from None
        except MultipartError as error:
            raise _malformed(str(error)) from None

    def _open_part(self, headers: list[tuple[str, str]]) -> _Part:
        self._part_count += 1
        part_limit = self._limits.fields + _EXTRA_PARTS
        if self._part_count > part_limit:
            raise too_large(f"The form has more than {part_limit} parts.")
        part = _read_part_headers(headers)
        if not part.is_file and len(self._parts) >= self._limits.fields:
            raise too_many_fields(self._limits)
        return part

    def _extend_part(self, chunk: bytes) -> None:
        part = self._parts[-1]
        if part.is_file:
            raise _no_uploads()
        part.value += chunk

    def _close_part(self) -> None:
        if self._parts[-1].is_file:
            self._parts.pop()

    def _decode(self) -> Body:
        """Names and values in one charset together, but for values that name their own."""
        own = [part.codec and decode_text(part.value, part.codec) for part in self._parts]
        raws: list[bytes | bytearray] = [part.name for part in self._parts]
        raws += [part.value for part, text in zip(self._parts, own, strict=True) if text is None]
        fields = [(part.name, part.value) for part in self._parts]
        texts, guessed = decode_texts(raws, self._codec or find_codec_in_fields(fields))
        rest = iter(texts[len(own) :])
        values = [next(rest) if text is None else text for text in own]
        pairs = zip(texts[: len(own)], values, strict=True)
        return Body(gather_fields(pairs, self._limits), is_json=False, charset_guessed=guessed)


def _read_part_headers(pairs: list[tuple[str, str]]) -> _Part:
    headers = dict(pairs)
    if len(headers) < len(pairs):
        raise bad_body("A part of the multipart body has the same header twice.")
    try:
        parameters = parse_disposition(headers["Content-Disposition"])
    except ValueError as error:
        raise bad_body(f"The Content-Disposition of a part is {error}.") from None
    if "name" not in parameters:
        raise bad_body("A part of the multipart body has no name; give every field one.")
    if parameters.get("filename") or "filename*" in parameters:
        raise _no_uploads()
    codec = _read_part_codec(headers) if len(headers) > 1 else None
    return _Part(parameters["name"].encode("latin-1"), codec, "filename" in parameters)


def _read_part_codec(headers: dict[str, str]) -> str | None:
    """The codec that the part's type names, None if it names none; raises for a type not read."""
    encoding = headers.get("Content-Transfer-Encoding", "8bit").strip(" \t").lower()
    if encoding not in _IDENTITY_ENCODINGS:
        raise bad_body("A part has a Content-Transfer-Encoding; send it as it is (8bit).")
    media_type, parameters = parse_media_type(headers.get("Content-Type", ""))
    if media_type.startswith("multipart/"):
        raise bad_body("A part of the multipart body is itself a multipart; send each part singly.")
    label = parameters.get("charset")
    codec = label and find_codec(label)
    if label and not codec:
        raise unsupported("The charset of a part is not known; use UTF-8.")
    return codec


def _check_epilogue(data: bytes) -> None:
    if data.strip(_WHITE_SPACE):
        raise bad_body("The multipart body goes on after its closing boundary.")


def _malformed(reason: str) -> Rejected:
    return bad_body(f"The multipart body is malformed: {reason}.")


def _headers_too_large() -> Rejected:
    return too_large(
        f"A part has more than {_HEADER_COUNT} headers, or more than {_HEADER_BYTES} bytes of them."
    )


def _no_uploads() -> Rejected:
    return Rejected(
        Problem.UPLOADS_NOT_ALLOWED, "This form does not accept files; send it without them."
    )
