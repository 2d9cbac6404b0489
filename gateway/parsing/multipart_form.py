"""Reads ``multipart/form-data`` (RFC 7578) as it arrives, the same however it was cut.

One reading of each oddity. A preamble is refused but for one CRLF; only white space may follow the
closing boundary, which must be there; lines end in CRLF, never in LF alone. Refused are folded
headers, a header or parameter given twice, parts without a name, nested multiparts, base64 and
quoted-printable, and a wrong ``Content-Length`` of a part. A part with ``filename`` or
``filename*`` is a file, whatever else it says, but for one without a name and without bytes: an
input left empty. ``name*`` says nothing.
"""

from typing import Any

from multipart import (  # type: ignore[import-untyped]
    MultipartError,
    MultipartSegment,
    ParserError,
    ParserLimitReached,
    PushMultipartParser,
)

from contracts.problems import Rejected
from gateway.parsing.fields import (
    Body,
    BodyLimits,
    bad_body,
    too_large,
    too_many_fields,
    too_many_files,
)
from gateway.parsing.form_parts import FieldPart, FilePart, decode_parts
from gateway.parsing.part_headers import read_part_headers
from gateway.staging import StagedContent, Staging

_HEADER_BYTES = 8_192
_HEADER_COUNT = 8
_EXTRA_PARTS = 10
_CRLF = b"\r\n"
_WHITE_SPACE = b" \t\r\n"


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
    """A form being received: ``feed`` every chunk, then ``finish``; if either raises, ``discard``.

    They raise 400 for what is malformed, 413 for what is over a limit, 415 for a part's charset
    that is not known, and 503 if files cannot be staged.
    """

    def __init__(
        self, boundary: bytes, codec: str | None, limits: BodyLimits, staging: Staging
    ) -> None:
        self._codec = codec
        self._limits = limits
        self._staging = staging
        self._delimiter = _CRLF + b"--" + boundary
        self._close = self._delimiter + b"--"
        self._held = b""
        self._is_started = False
        self._is_closed = False
        self._part: FieldPart | FilePart | None = None
        self._part_count = 0
        self._fields: list[FieldPart] = []
        self._files: list[FilePart] = []
        self._size = 0
        self._file_bytes = 0
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

    async def feed(self, chunk: bytes) -> None:
        """Takes the next bytes of the body."""
        self._size += len(chunk)
        self._take(chunk)
        # What waits in the buffers may yet be a file's.
        self._check_text(self._size - len(self._held) - len(self._close))
        for file in self._files:
            if file.content.is_due:
                await file.content.settle()

    async def finish(self) -> Body:
        """The form, now that the body is whole."""
        if not self._is_closed:
            raise bad_body("The multipart body ends before its closing boundary; send all of it.")
        try:
            self._parser.close()
        except MultipartError as error:
            raise _malformed(str(error)) from None
        self._check_text(self._size)
        for file in self._files:
            await file.content.close()
        return decode_parts(self._fields, self._files, self._codec, self._limits)

    def discard(self) -> None:
        """Forgets the bytes of the files."""
        for file in self._files:
            file.content.discard()

    def _check_text(self, size: int) -> None:
        """Raises 413 if ``size`` bytes of body hold more text than they may."""
        if size - self._file_bytes > self._limits.body_bytes:
            raise too_large(
                f"The body has more than {self._limits.body_bytes} bytes, files not counted."
            )

    def _take(self, chunk: bytes) -> None:
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
                    self._open_part(event.headerlist)
                elif event is not None:
                    self._extend_part(event)
        except ParserLimitReached:
            raise _headers_too_large() from None
        except MultipartError as error:
            raise _malformed(str(error)) from None

    def _open_part(self, headers: list[tuple[str, str]]) -> None:
        self._part_count += 1
        part_limit = self._limits.fields + max(self._limits.files, _EXTRA_PARTS)
        if self._part_count > part_limit:
            raise too_large(f"The form has more than {part_limit} parts.")
        part = read_part_headers(headers)
        if part.file is not None:
            content = StagedContent(self._staging, self._limits.file_bytes)
            self._part = FilePart(part.name, part.file, content)
            if part.file.is_named:
                self._keep_file(self._part)
            return
        if len(self._fields) >= self._limits.fields:
            raise too_many_fields(self._limits)
        self._part = FieldPart(part.name, part.codec)
        self._fields.append(self._part)

    def _extend_part(self, chunk: bytes) -> None:
        part = self._part
        if isinstance(part, FieldPart):
            part.value += chunk
        elif part is not None:
            if not part.headers.is_named and part.content.size == 0:
                self._keep_file(part)
            self._file_bytes += len(chunk)
            part.content.write(chunk)

    def _keep_file(self, part: FilePart) -> None:
        if len(self._files) >= self._limits.files:
            raise too_many_files(self._limits)
        self._files.append(part)


def _check_epilogue(data: bytes) -> None:
    if data.strip(_WHITE_SPACE):
        raise bad_body("The multipart body goes on after its closing boundary.")


def _malformed(reason: str) -> Rejected:
    return bad_body(f"The multipart body is malformed: {reason}.")


def _headers_too_large() -> Rejected:
    return too_large(
        f"A part has more than {_HEADER_COUNT} headers, or more than {_HEADER_BYTES} bytes of them."
    )
