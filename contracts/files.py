"""Names of uploaded files: what a visitor called one, made safe, and the key it is stored under."""

import re
import unicodedata
from datetime import UTC, datetime

NAME_BYTES_MAX = 200
_EXTENSION_BYTES_MAX = 32
_FALLBACK = "file"
_SEPARATORS = re.compile(r"[/\\]")
# Marks, embeddings, overrides and isolates of the bidirectional algorithm (UAX 9): they make
# "exe.jpg" out of "gpj.exe".
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# Controls, lone surrogates, and the separators that end a line or paragraph.
_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
_EDGES = re.compile(r"^[\s.]+|\s+$")
_ID = "[0-9a-hjkmnp-tv-z]{26}"
_OBJECT_KEY = re.compile(rf"frm_{_ID}/[0-9]{{4}}/[0-9]{{2}}/sub_{_ID}/[0-9]{{1,3}}-[^/]+")


def safe_name(filename: str) -> str:
    """The last path segment of a file name, as text that is safe to show and to store.

    Without control characters, bidirectional controls and leading dots; at most ``NAME_BYTES_MAX``
    bytes of UTF-8, cut between characters and, where there is room, before the extension; never
    empty.
    """
    segments = [name for text in _SEPARATORS.split(filename) if (name := _cleaned(text))]
    return _shortened(segments[-1]) if segments else _FALLBACK


def object_key(
    form_id: str, submission_id: str, received_at_ms: int, index: int, filename: str
) -> str:
    """Where a file is kept: ``formId/yyyy/mm/subId/idx-name``; the month is that of the submission,
    in UTC, and ``index`` counts the files of the submission from 0."""
    month = datetime.fromtimestamp(received_at_ms // 1000, UTC)
    return f"{form_id}/{month:%Y/%m}/{submission_id}/{index}-{safe_name(filename)}"


def is_object_key(text: str) -> bool:
    """Whether ``text`` has the shape of an object key: a store may hold what is not ours."""
    return _OBJECT_KEY.fullmatch(text) is not None


def _cleaned(text: str) -> str:
    kept = [
        character
        for character in text
        if character not in _BIDI and unicodedata.category(character) not in _UNPRINTABLE
    ]
    return _EDGES.sub("", "".join(kept))


def _shortened(name: str) -> str:
    if len(name.encode()) <= NAME_BYTES_MAX:
        return name
    stem, dot, extension = name.rpartition(".")
    tail = dot + extension
    if not stem or len(tail.encode()) > _EXTENSION_BYTES_MAX:
        stem, tail = name, ""
    return _cut(stem, NAME_BYTES_MAX - len(tail.encode())) + tail


def _cut(text: str, size: int) -> str:
    return text.encode()[:size].decode(errors="ignore").rstrip()
