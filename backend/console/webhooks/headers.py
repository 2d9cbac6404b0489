"""The headers of a webhook as rows of a form: a name and a value each, some of them empty."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from backend.answers import invalid
from backend.console.visits import Fault, Visit
from backend.webhooks.headers import HEADERS_MAX

_BAD_NAME = "A name is letters, digits and hyphens, such as X-Token."
_NO_VALUE = "Type its value, or clear its name to do without it."


@dataclass(frozen=True, slots=True)
class HeaderRow:
    """A row, and what is wrong with it."""

    name: str = ""
    value: str = ""
    fault: str | None = None


def header_rows(rows: Sequence[tuple[str, str]], fault: Fault | None = None) -> Sequence[HeaderRow]:
    """As many rows as a webhook may have headers, the first of them filled."""
    faults = fault.of if fault is not None else {}
    filled = [HeaderRow(name, value, _fault(name, value, faults)) for name, value in rows]
    return filled + [HeaderRow()] * (HEADERS_MAX - len(filled))


def posted_rows(visit: Visit) -> list[tuple[str, str]]:
    """The rows that somebody has filled."""
    names, values = visit.form.getlist("header_name"), visit.form.getlist("header_value")
    pairs = zip_longest(map(str, names), map(str, values), fillvalue="")
    stripped = ((name.strip(), value.strip()) for name, value in pairs)
    return [row for row in stripped if any(row)]


def headers_of(rows: Sequence[tuple[str, str]]) -> dict[str, str]:
    """The headers that rows make. Raises Rejected if one is there twice."""
    headers = dict(rows)
    if len(headers) < len(rows):
        raise invalid("headers", "duplicate_header", "One of the headers is there twice.")
    return headers


def _fault(name: str, value: str, faults: Mapping[str, str]) -> str | None:
    """What the API found wrong with a header: it says so of a member of ``headers``, or of the name
    itself."""
    if f"headers.{name}.[key]" in faults:
        return _BAD_NAME
    if f"headers.{name}" in faults and not value:
        return _NO_VALUE
    return faults.get(f"headers.{name}")
