"""What visitors wrote, made readable: in a line for lists, and with its links for a page.

All of it is hostile. Nothing becomes a link but addresses of the web, as they are written, and
addresses of e-mail, which cannot bring anything else of a mail with them.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any
from urllib.parse import quote, urlsplit

from backend.console.formats import short, values_of
from backend.schemas import EMAIL_MAX, EMAIL_PATTERN

_LINKS_MAX = 100
_FIELDS_MAX = 20
_VALUE_MAX = 300
_LINE_MAX = 160
_WHO_MAX = 60
_NAMES = frozenset({"name", "full_name", "fullname", "your_name", "first_name", "firstname"})
_EMAIL = re.compile(EMAIL_PATTERN)
# Every part has its bound, and an address begins where no other could have begun before: a text
# takes time in proportion to its length, whatever is in it.
_LINK = re.compile(
    r"(?P<web>\bhttps?://[^\s<>\"]{1,2000})"
    r"|(?<![\w.+%-])(?P<mail>[\w.+%-]{1,64}@(?:[a-z0-9-]{1,63}\.){1,8}[a-z]{2,24})(?![\w-])",
    re.IGNORECASE | re.ASCII,
)
_AFTER_LINK = ".,;:!?)]}'*_"


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a text, a link if it has an ``href``; one that ``leaves`` leads to a site that is
    not ours."""

    text: str
    href: str | None = None
    leaves: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """A submission in a line: who it seems to be from, and what it says beside that, the longest
    first."""

    who: str
    text: str


def line_of(payload: Mapping[str, Any]) -> Line:
    """The line of a submission."""
    texts = {}
    for name, value in islice(payload.items(), _FIELDS_MAX):
        text = " ".join(" ".join(values_of(value))[:_VALUE_MAX].split())
        if text:
            texts[name] = text
    emails = [name for name, text in texts.items() if _EMAIL.fullmatch(text)]
    names = [name for name in texts if name.lower().replace("-", "_") in _NAMES]
    found = (names or emails or list(texts))[:1]
    said = sorted(texts.keys() - found, key=lambda name: (name in emails, -len(texts[name]), name))
    return Line(
        short(texts[found[0]], _WHO_MAX) if found else "Empty submission",
        short(" · ".join(texts[name] for name in said), _LINE_MAX),
    )


def email_of(payload: Mapping[str, Any]) -> str | None:
    """The visitor's address of e-mail, if a field holds one and nothing else."""
    for value in payload.values():
        text = value.strip() if isinstance(value, str) else ""
        if len(text) <= EMAIL_MAX and _EMAIL.fullmatch(text):
            return text
    return None


def mail_link(recipient: str, subject: str = "") -> str:
    """What opens a mail to somebody, and to nobody else whatever the address says (RFC 6068)."""
    query = f"?subject={quote(subject, safe='')}" if subject else ""
    return f"mailto:{quote(recipient, safe='@')}{query}"


def web_link(text: str) -> Piece:
    """An address of the web as a link, if it is one that shows where it leads."""
    try:
        parts = urlsplit(text)
        is_plain = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
    except ValueError:
        is_plain = False
    return Piece(text, text, leaves=True) if is_plain else Piece(text)


def pieces_of(text: str) -> Sequence[Piece]:
    """A text with the links in it."""
    pieces, end = list[Piece](), 0
    for match in islice(_LINK.finditer(text), _LINKS_MAX):
        found = match[0].rstrip(_AFTER_LINK) if match["web"] else match[0]
        pieces.append(Piece(text[end : match.start()]))
        pieces.append(web_link(found) if match["web"] else Piece(found, mail_link(found)))
        end = match.start() + len(found)
    pieces.append(Piece(text[end:]))
    return [piece for piece in pieces if piece.text]
