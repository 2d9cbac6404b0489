"""Exports of form services, read as submissions to import.

What each service's export holds, and how far that is verified, is in docs/import.md.
"""

import csv
import hashlib
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from email.utils import parsedate_to_datetime
from typing import Any, BinaryIO

import orjson

from contracts.runtime.clock import iso
from contracts.runtime.settings import StartError

Row = Mapping[str, Any]

_CELL_MAX = 4 * 1024 * 1024
_TRUE = {"1", "true", "t", "yes", "y", "spam"}
# An apostrophe that our CSV puts before what a spreadsheet would run.
_NEUTRALISED = re.compile("^'(?=[=+\\-@\t\r\n\0＝＋－＠])")


class UnreadableExport(StartError):
    """An export cannot be read; the message is one line that names the place."""


@dataclass(frozen=True, slots=True)
class Source:
    """How to read one service's export. Columns are compared in lower case.

    ``dates`` and ``ids`` name the columns of the date and of the service's own id, the first that
    is there; ``spam`` those that say so of spam; ``meta`` what is known of the visitor; ``dropped``
    are columns that are no fields of the form. ``signs`` are columns that tell the service: all of
    one set are there.
    """

    name: str
    dates: tuple[str, ...]
    signs: tuple[frozenset[str], ...]
    ids: tuple[str, ...] = ()
    spam: tuple[str, ...] = ()
    meta: Mapping[str, str] = field(default_factory=dict)
    dropped: frozenset[str] = frozenset()


FORMFLOW = Source(
    "formflow",
    dates=("received_at",),
    signs=(frozenset({"id", "received_at", "status"}),),
    ids=("id",),
)
_VISITOR = {
    "ip": "ip",
    "ip address": "ip",
    "user_agent": "user_agent",
    "user agent": "user_agent",
    "referrer": "referrer",
    "referer": "referrer",
}
SOURCES = {
    source.name: source
    for source in (
        FORMFLOW,
        Source(
            "formspree",
            dates=("_date", "date", "submitted at"),
            signs=(frozenset({"_date"}),),
            ids=("_id",),
            spam=("_spam",),
            dropped=frozenset({"_status", "_gotcha", "_errors"}),
        ),
        Source(
            "netlify",
            dates=("created_at", "created at"),
            signs=(
                frozenset({"created_at", "ip"}),
                frozenset({"created_at", "user_agent"}),
                frozenset({"created_at", "referrer"}),
                frozenset({"created_at", "form_name"}),
                frozenset({"created_at", "site_url"}),
            ),
            ids=("id",),
            meta=_VISITOR,
            dropped=frozenset(
                {"number", "form_name", "form_id", "site_url", "site_name", "bot-field"}
            ),
        ),
        Source(
            "basin",
            dates=("created at", "created_at", "date", "submitted at"),
            signs=(
                frozenset({"created at", "spam"}),
                frozenset({"created_at", "spam"}),
                frozenset({"created at", "ip address"}),
            ),
            ids=("id",),
            spam=("spam", "is_spam"),
            meta=_VISITOR,
            dropped=frozenset({"trash", "read", "form_id", "form id", "updated at", "updated_at"}),
        ),
    )
}
# Basin's sign is the narrower one.
_DETECTED = ("formflow", "formspree", "basin", "netlify")


class Export:
    """One exported file. Raises UnreadableExport for what it cannot read, naming the line."""

    def __init__(
        self,
        name: str,
        opened: Callable[[], BinaryIO],
        source_name: str | None,
        zone: tzinfo = UTC,
    ) -> None:
        """``opened`` gives the file from its beginning, as often as it is called; ``name`` is what
        it is called in messages. ``zone`` is that of dates which do not name one."""
        self._name = name
        self._opened = opened
        self._zone = zone
        self._is_json = self._starts_as_json()
        columns = FORMFLOW.signs[0] if self._is_json else self._columns()
        self.source = SOURCES[source_name] if source_name else self._detect(columns)
        if self._is_json and self.source is not FORMFLOW:
            raise UnreadableExport(f"{name}: only FormFlow's own export is read as JSON")
        if not any(date in columns for date in self.source.dates):
            raise UnreadableExport(
                f"{name} has none of the columns {', '.join(self.source.dates)}, "
                f"which hold the date in an export of {self.source.name}"
            )

    def submissions(self) -> Iterator[dict[str, Any]]:
        """Each submission as the API takes it, in the order of the file."""
        seen: Counter[bytes] = Counter()
        for place, row in self._json_rows() if self._is_json else self._csv_rows():
            try:
                submission = (own_submission if self._is_json else self._of_cells)(row)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise UnreadableExport(f"{self._name}, {place}: {error}") from None
            if submission["reference"] is None:
                submission["reference"] = _reference(submission, seen)
            yield submission

    def _starts_as_json(self) -> bool:
        try:
            with self._opened() as file:
                return file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"[", b"{")
        except OSError as error:
            raise UnreadableExport(f"{self._name} cannot be read: {error.strerror}") from None

    def _columns(self) -> frozenset[str]:
        for _, cells in self._csv_rows():
            return frozenset(name.lower() for name in cells)
        raise UnreadableExport(f"{self._name} holds no submissions")

    def _detect(self, columns: frozenset[str]) -> Source:
        for name in _DETECTED:
            if any(sign <= columns for sign in SOURCES[name].signs):
                return SOURCES[name]
        services = ", ".join(SOURCES)
        raise UnreadableExport(f"{self._name}: which service is it from? Say one of {services}")

    def _csv_rows(self) -> Iterator[tuple[str, dict[str, str]]]:
        csv.field_size_limit(_CELL_MAX)
        try:
            with io.TextIOWrapper(self._opened(), encoding="utf-8-sig", newline="") as file:
                reader = csv.DictReader(file, restkey="", restval="")
                for row in reader:
                    if "" in row and isinstance(row[""], list):
                        raise UnreadableExport(
                            f"{self._name}, line {reader.line_num}: more cells than columns"
                        )
                    yield f"line {reader.line_num}", row
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise UnreadableExport(f"{self._name} cannot be read: {error}") from None

    def _json_rows(self) -> Iterator[tuple[str, Row]]:
        try:
            with self._opened() as file:
                yield from _documents(file)
        except (OSError, ValueError) as error:
            raise UnreadableExport(f"{self._name} cannot be read: {error}") from None

    def _of_cells(self, row: Row) -> dict[str, Any]:
        source = self.source
        cells = {name.lower(): cell for name, cell in row.items()}
        date_column = next(name for name in source.dates if name in cells)
        id_column = next((name for name in source.ids if cells.get(name)), None)
        meta_columns = {name: member for name, member in source.meta.items() if cells.get(name)}
        taken = {date_column, id_column, *source.spam, *source.dropped, *meta_columns}
        payload = {name: cell for name, cell in row.items() if name.lower() not in taken and cell}
        is_spam = any(cells.get(name, "").strip().lower() in _TRUE for name in source.spam)
        status, is_read = "spam" if is_spam else "received", False
        if source is FORMFLOW:
            payload = _own_fields(payload)
            status = cells["status"]
            is_read = cells.get("read", "") == "true"
        return {
            "reference": cells[id_column] if id_column else None,
            "received_at": _moment(cells[date_column], self._zone),
            "status": status,
            "read": is_read,
            "payload": payload,
            "meta": {member: cells[name] for name, member in meta_columns.items()},
        }


def own_submission(document: Row) -> dict[str, Any]:
    """A submission as our API shows it, as it is imported: without its form and its files, and
    without the key that posted it, which is one of another installation. Raises ValueError,
    KeyError, TypeError or AttributeError for what is none."""
    meta = {name: value for name, value in document["meta"].items() if value is not None}
    meta.pop("key_id", None)
    return {
        "reference": document["id"],
        "received_at": _moment(document["received_at"], UTC),
        "status": document["status"],
        "read": bool(document.get("read")),
        "payload": document["payload"],
        "meta": meta,
        "trace": document.get("trace", {}).get("checks", []),
    }


def _moment(text: str, zone: tzinfo) -> str:
    moment = _parse_date(text.strip())
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    return iso(int(moment.timestamp() * 1000))


def _parse_date(text: str) -> datetime:
    """ISO 8601, as Rails writes it, or RFC 2822: those in which day and month cannot be mixed up.
    Raises ValueError."""
    try:
        return datetime.fromisoformat(text.removesuffix(" UTC") + "Z" * text.endswith(" UTC"))
    except ValueError:
        pass
    try:
        return parsedate_to_datetime(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a date such as 2024-03-01T09:30:00Z") from None


def _own_fields(cells: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a row of our own CSV, as far as CSV keeps them."""
    fields: dict[str, Any] = {
        _NEUTRALISED.sub("", name): _NEUTRALISED.sub("", cell)
        for name, cell in cells.items()
        if name not in ("status", "read", "other_fields")
    }
    if "other_fields" in cells:
        fields |= orjson.loads(cells["other_fields"])
    return fields


def _reference(submission: Row, seen: Counter[bytes]) -> str:
    """A digest of what the row says: the same file yields the same ones. Of rows that say the same,
    each has its number."""
    said = {name: submission[name] for name in ("received_at", "payload", "meta")}
    digest = hashlib.sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).digest()[:16]
    seen[digest] += 1
    return f"{digest.hex()}-{seen[digest]}"


def _documents(file: BinaryIO) -> Iterator[tuple[str, Row]]:
    """The documents of an array that has one a line, as our export does, or of JSON Lines."""
    for number, line in enumerate(file, 1):
        text = line.strip().removeprefix(b"[").removesuffix(b"]").removesuffix(b",")
        if text:
            yield f"line {number}", orjson.loads(text)
