"""A form's submissions as CSV, in memory that does not grow with the form.

RFC 4180 in UTF-8. A cell that a spreadsheet would run begins with an apostrophe instead
(https://owasp.org/www-community/attacks/CSV_Injection). Two passes: the first collects the columns,
the second writes.
"""

import csv
import io
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

import orjson

from backend.submissions.store import ExportRow
from contracts.runtime.clock import iso

PayloadPages = Callable[[], AsyncIterator[Sequence[Sequence[str]]]]
"""Pages of ids and payloads, JSON text."""
Pages = Callable[[], AsyncIterator[Sequence[ExportRow]]]

FIXED_COLUMNS = ("id", "received_at", "status")
# Visitors choose field names: beyond this many, the rest shares one column of JSON.
COLUMNS_MAX = 1_000
OVERFLOW_COLUMN = "other_fields"
_DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "＝", "＋", "－", "＠")


class CsvExport:
    """One export: first ``prepare``, then ``chunks``."""

    def __init__(self, payloads: PayloadPages, pages: Pages) -> None:
        """Both begin anew, oldest first, at every call: the first pass reads ``payloads``, the
        second one ``pages``."""
        self._payloads = payloads
        self._pages = pages
        self._columns: dict[str, None] = {}
        self._has_overflow = False
        self._last_id = ""

    async def prepare(self) -> None:
        """The first pass. Raises what the database raises, before anything is answered."""
        async for page in self._payloads():
            for _, payload in page:
                self._collect(orjson.loads(payload))
            self._last_id, _ = page[-1]

    async def chunks(self) -> AsyncIterator[bytes]:
        """The second pass: the file, a page at a time."""
        overflow = [OVERFLOW_COLUMN] if self._has_overflow else []
        yield encode_rows([[*FIXED_COLUMNS, *self._columns, *overflow]])
        async for page in self._pages():
            rows = [row for row in page if row.id <= self._last_id]
            yield encode_rows(filter(None, map(self._cells, rows)))
            if len(rows) < len(page):
                return

    def _collect(self, payload: dict[str, Any]) -> None:
        if payload.keys() <= self._columns.keys():
            return
        for name in payload:
            if name not in self._columns:
                if len(self._columns) >= COLUMNS_MAX:
                    self._has_overflow = True
                    return
                self._columns[name] = None

    def _cells(self, row: ExportRow) -> list[str] | None:
        """The cells of a row; None for one that arrived after the first pass with new fields,
        because half a submission would be worse than one the next export has."""
        payload = orjson.loads(row.payload)
        cells = [row.id, iso(row.received_at), row.status]
        cells += [_text(payload.pop(name, "")) for name in self._columns]
        if self._has_overflow:
            cells.append(orjson.dumps(payload).decode() if payload else "")
        elif payload:
            return None
        return cells


def encode_rows(rows: Iterable[Sequence[str]]) -> bytes:
    """Rows of CSV, whose cells no spreadsheet runs."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerows([_neutral(cell) for cell in row] for row in rows)
    return buffer.getvalue().encode()


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "\n".join(map(str, value))
    return str(value)


def _neutral(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_DANGEROUS) else cell
