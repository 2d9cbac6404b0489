"""The parts of a multipart form, and what they say once all of them are there."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.parsing.charsets import decode_text, decode_texts, find_codec_in_fields
from gateway.parsing.fields import Body, BodyLimits, check_sizes, gather_fields
from gateway.parsing.part_headers import FileHeaders
from gateway.staging import StagedContent, Upload


@dataclass(slots=True)
class FieldPart:
    """A field; ``codec`` is the one its own content type names."""

    name: bytes
    codec: str | None
    value: bytearray = field(default_factory=bytearray)


@dataclass(slots=True)
class FilePart:
    """A file."""

    name: bytes
    headers: FileHeaders
    content: StagedContent


def decode_parts(
    fields: Sequence[FieldPart], files: Sequence[FilePart], codec: str | None, limits: BodyLimits
) -> Body:
    """The body; ``codec`` is the one that the request names.

    Names and values are read in one charset together, but for values that name their own. File
    names follow the same rule by themselves, so that an odd one does not spoil the text.
    Raises 413 for a name or value over its limit.
    """
    own = [part.codec and decode_text(part.value, part.codec) for part in fields]
    raws: list[bytes | bytearray] = [part.name for part in fields]
    raws += [part.name for part in files]
    raws += [part.value for part, text in zip(fields, own, strict=True) if text is None]
    named = codec or find_codec_in_fields((part.name, part.value) for part in fields)
    texts, guessed = decode_texts(raws, named)
    filenames, filenames_guessed = decode_texts([part.headers.filename for part in files], named)
    rest = iter(texts)
    names = [next(rest) for _ in fields]
    inputs = [next(rest) for _ in files]
    values = [next(rest) if text is None else text for text in own]
    return Body(
        gather_fields(zip(names, values, strict=True), limits),
        charset_guessed=guessed or filenames_guessed,
        files=tuple(
            _upload(part, input_name, filename, limits)
            for part, input_name, filename in zip(files, inputs, filenames, strict=True)
        ),
    )


def _upload(part: FilePart, input_name: str, filename: str, limits: BodyLimits) -> Upload:
    check_sizes(input_name, "", limits)
    headers, content = part.headers, part.content
    return Upload(
        field=input_name,
        filename=filename if headers.extended_name is None else headers.extended_name,
        content_type=headers.content_type,
        size=content.size,
        sha256=content.sha256,
        is_oversize=content.is_oversize,
        content=content,
    )
