"""How values look to people: numbers, sizes, times, and what stands in a submission."""

import math
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from markupsafe import Markup

_UNITS = ("bytes", "KB", "MB", "GB", "TB")
_STEP = 1024
_SHORT = 80
# In this order: each also says that it is one of those that follow.
_BROWSERS = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS = (
    ("Windows", "Windows"),
    ("Android", "Android"),
    ("iPhone", "iOS"),
    ("iPad", "iPadOS"),
    ("Mac OS", "macOS"),
    ("Linux", "Linux"),
)


def count(value: int | None) -> str:
    """A number with its thousands apart; what has no limit is unlimited."""
    return "unlimited" if value is None else f"{value:,}".replace(",", "\u202f")


def size(value: int) -> str:
    """Bytes, in the unit that suits."""
    power = min(int(math.log(value, _STEP)), len(_UNITS) - 1) if value > 0 else 0
    shown = value / _STEP**power
    return (
        f"{shown:.0f} {_UNITS[power]}"
        if shown >= 10 or not power
        else f"{shown:.1f} {_UNITS[power]}"
    )


def percent(part: int, whole: int) -> int:
    """How many hundredths of ``whole`` a part is, from 0 to 100."""
    return min(100, round(100 * part / whole)) if whole else 0


def duration(ms: int) -> str:
    """How long something took, in the unit that suits."""
    if ms < 1000:
        return f"{ms} ms"
    if ms < 10_000:
        return f"{ms / 1000:.1f} s"
    for unit, length in (("s", 1000), ("min", 60_000), ("h", 3_600_000)):
        if ms < 120 * length:
            return f"{ms / length:.0f} {unit}"
    return f"{ms / 86_400_000:.0f} days"


def moment(text: str | None) -> Markup:
    """A time as the reader's zone has it, where there is a script to find out; in UTC otherwise."""
    if text is None:
        return Markup('<span class="faint">never</span>')
    shown = f"{text[:10]} {text[11:16]} UTC"
    return Markup('<time datetime="{}">{}</time>').format(text, shown)


def host(url: str) -> str:
    """Where a URL leads: its path may be a secret, as those of chats are."""
    return urlsplit(url).netloc.rpartition("@")[2]


def browser(user_agent: str | None) -> str:
    """The browser and the system that a user agent seems to be, else its beginning."""
    agent = user_agent or "unknown"
    name = next((name for mark, name in _BROWSERS if mark in agent), None)
    system = next((name for mark, name in _SYSTEMS if mark in agent), None)
    if name is None:
        return short(agent)
    return name if system is None else f"{name} on {system}"


def short(value: Any, length: int = _SHORT) -> str:
    """The beginning of a text, on one line."""
    text = " ".join(str(value).split())
    return text if len(text) <= length else f"{text[: length - 1]}…"


def values_of(value: Any) -> list[str]:
    """The values of a field: a field that is repeated has several."""
    return [str(each) for each in value] if isinstance(value, list) else [str(value)]


FILTERS: Mapping[str, Callable[..., Any]] = {
    "count": count,
    "size": size,
    "percent": percent,
    "duration": duration,
    "moment": moment,
    "host": host,
    "browser": browser,
    "short": short,
    "values_of": values_of,
}
