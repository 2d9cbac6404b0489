"""The fields of one post as every body type delivers them, and their limits."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

from contracts.problems import Problem, Rejected
from gateway.staging import Upload

_MAX_UTF8_BYTES = 4
# So much of a body whose files are not wanted is read, so that its refusal can say why.
_UNWANTED_BYTES = 8 * 1024**2


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """The bounds of one post; over any of them is 413, over ``json_depth`` 400.

    ``fields`` counts every occurrence of a repeated field. ``name_bytes`` and ``value_bytes`` are
    measured in the UTF-8 of the decoded text, ``body_bytes`` as it arrives, without the content of
    files. ``json_depth`` counts nested arrays and objects, the top level included. ``file_bytes``
    is the form's limit for one file, 0 if it takes none: a file over it is not refused but marked.
    """

    fields: int = 200
    name_bytes: int = 256
    value_bytes: int = 65_536
    body_bytes: int = 1_048_576
    json_depth: int = 32
    files: int = 10
    file_bytes: int = 0

    @property
    def upload_bytes(self) -> int:
        """The bytes of a multipart body, files included."""
        return self.body_bytes + (self.files * self.file_bytes or _UNWANTED_BYTES)

    def with_file_bytes(self, file_bytes: int) -> "BodyLimits":
        """These limits for a form whose files may have that size."""
        return _with_file_bytes(self, file_bytes)


@lru_cache(maxsize=256)
def _with_file_bytes(limits: BodyLimits, file_bytes: int) -> BodyLimits:
    # As many as there are plans: most posts would otherwise make a copy each.
    return replace(limits, file_bytes=file_bytes)


@dataclass(slots=True)
class Body:
    """What a post said.

    ``fields`` is in order of first appearance; a repeated field is a list of strings.
    ``charset_guessed`` says that the text was neither named nor UTF-8 and was read as windows-1252.
    ``files`` are in the order of their parts; whoever has the body discards them in the end.
    """

    fields: dict[str, str | list[str]]
    charset_guessed: bool
    files: tuple[Upload, ...] = ()

    def discard(self) -> None:
        """Forgets the bytes of the files; as often as it is called."""
        for file in self.files:
            file.discard()


def gather_fields(
    pairs: Iterable[tuple[str, str]], limits: BodyLimits
) -> dict[str, str | list[str]]:
    """The pairs as a mapping; raises 413 for a name or value over its limit."""
    fields: dict[str, str | list[str]] = {}
    # Text this short is within the limit in any script, which spares the encoding.
    name_chars = limits.name_bytes // _MAX_UTF8_BYTES
    value_chars = limits.value_bytes // _MAX_UTF8_BYTES
    for name, value in pairs:
        if len(name) > name_chars or len(value) > value_chars:
            check_sizes(name, value, limits)
        held = fields.get(name)
        if held is None:
            fields[name] = value
        elif isinstance(held, list):
            held.append(value)
        else:
            fields[name] = [held, value]
    return fields


def check_sizes(name: str, value: str, limits: BodyLimits) -> None:
    """Raises 413 for a name or value over its limit, in UTF-8 bytes."""
    if _is_over(name, limits.name_bytes):
        raise too_large(f"A field name is longer than {limits.name_bytes} bytes.")
    if _is_over(value, limits.value_bytes):
        raise value_too_large(name, limits)


def _is_over(text: str, limit: int) -> bool:
    return len(text) * _MAX_UTF8_BYTES > limit and len(text.encode()) > limit


def bad_body(detail: str) -> Rejected:
    """400: the body cannot be read."""
    return Rejected(Problem.BAD_BODY, detail)


def too_large(detail: str) -> Rejected:
    """413: the detail names the limit and its value."""
    return Rejected(Problem.BODY_TOO_LARGE, detail)


def too_many_fields(limits: BodyLimits) -> Rejected:
    """413: more fields than the form may have."""
    return too_large(f"The form has more than {limits.fields} fields.")


def too_many_files(limits: BodyLimits) -> Rejected:
    """413: more files than the form may have."""
    return too_large(f"The form has more than {limits.files} files.")


def value_too_large(name: str, limits: BodyLimits) -> Rejected:
    """413: the value of that field is over its limit."""
    return too_large(f'The value of the field "{name}" is longer than {limits.value_bytes} bytes.')


def unsupported(detail: str) -> Rejected:
    """415: a type, charset or coding that is not read."""
    return Rejected(Problem.UNSUPPORTED_MEDIA_TYPE, detail)
