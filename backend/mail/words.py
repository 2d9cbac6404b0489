"""Other people's text, made fit to be shown in a mail."""

import re
from datetime import UTC, datetime

# Controls but for tab and line feed, surrogates, and what reorders the letters around it
# (Unicode TR 36, 2.8): a name must not read other than it is.
_UNSHOWN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_GAPS = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_LINE_ENDS = re.compile("\r\n?|[\u2028\u2029]")
# Where a mail program would see an address: in "://", "www.", "example.com" and "@".
_LINK_JOINTS = re.compile(r"(?<=\S)([.:@/])(?=\S)")
_INVISIBLE = "\u200b"
_UNITS = ("bytes", "kB", "MB", "GB")
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July",
    "August", "September", "October", "November", "December",
)  # fmt: skip


def one_line(text: str, length: int) -> str:
    """The text on one line, cut to so many characters: fit for a header and for a label."""
    line = _UNSHOWN.sub("\N{REPLACEMENT CHARACTER}", _GAPS.sub(" ", text)).strip()
    return line if len(line) <= length else f"{line[: length - 1].rstrip()}…"


def paragraphs(text: str) -> str:
    """The text with line ends of one kind, and a mark for each character that cannot be shown."""
    return _UNSHOWN.sub("\N{REPLACEMENT CHARACTER}", _LINE_ENDS.sub("\n", text))


def without_links(text: str) -> str:
    """The text such that no mail program makes a link of anything in it; it reads the same."""
    return _LINK_JOINTS.sub(rf"\1{_INVISIBLE}", text)


def moment(unix_ms: int) -> str:
    """A time for people: ``10 June 2026, 10:23 UTC``."""
    time = datetime.fromtimestamp(unix_ms // 1000, UTC)
    return f"{time.day} {_MONTHS[time.month - 1]} {time.year}, {time:%H:%M} UTC"


def size(count: int) -> str:
    """A number of bytes for people, in decimal units: ``1.2 MB``."""
    amount, unit = float(count), 0
    while amount >= 999.5 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1000, unit + 1
    digits = 1 if unit and amount < 9.95 else 0
    return f"{amount:.{digits}f} {_UNITS[unit]}"
