"""HTTP of the audit log."""

from collections.abc import AsyncIterator, Sequence
from functools import partial

from backend.audit.schemas import (
    CSV_COLUMNS,
    Event,
    EventExport,
    EventList,
    EventPageQuery,
    EventQuery,
    csv_rows,
)
from backend.audit.store import FoundEvent
from backend.operations import Call, Operation
from backend.paging import cut
from backend.submissions.downloads import Download
from backend.submissions.export import encode_rows

Pages = AsyncIterator[Sequence[FoundEvent]]


async def list_events(call: Call) -> EventList:
    query: EventPageQuery = call.query
    rows = await call.services.audit.list(
        call.principal, query.filter(), query.before("evt"), query.limit + 1
    )
    page, next_cursor = cut(rows, query.limit)
    return EventList(data=[Event.of(row) for row in page], next_cursor=next_cursor)


async def get_event(call: Call) -> Event:
    return Event.of(await call.services.audit.get(call.principal, call.path["event_id"]))


async def export_events_csv(call: Call) -> Download:
    note = partial(_note, call, "csv")
    return Download("audit-log.csv", "text/csv", _csv(_pages(call)), note)


async def export_events_json(call: Call) -> Download:
    note = partial(_note, call, "json")
    return Download("audit-log.json", "application/json", _array(_pages(call)), note)


def _pages(call: Call) -> Pages:
    return call.services.audit.pages(call.principal, call.query.filter())


async def _note(call: Call, format: str) -> None:
    filters = call.query.model_dump(exclude_none=True)
    await call.services.audit.note_export(call.principal, format=format, filters=filters)


async def _csv(pages: Pages) -> AsyncIterator[bytes]:
    yield encode_rows([CSV_COLUMNS])
    async for page in pages:
        yield encode_rows(csv_rows(page))


async def _array(pages: Pages) -> AsyncIterator[bytes]:
    """A JSON array of the documents that the list has, a page at a time."""
    separator = b"["
    async for page in pages:
        yield separator + b",\n".join(Event.of(row).model_dump_json().encode() for row in page)
        separator = b",\n"
    yield b"]\n" if separator == b",\n" else b"[]\n"


operations = (
    Operation(
        method="GET",
        path="/v1/audit-log",
        handler=list_events,
        summary="List what was done and refused, newest first",
        right="audit:read",
        query=EventPageQuery,
        answer=EventList,
    ),
    Operation(
        method="GET",
        path="/v1/audit-log.csv",
        handler=export_events_csv,
        summary="Export the audit log as CSV, newest first",
        right="audit:read",
        query=EventQuery,
        media_type="text/csv",
    ),
    Operation(
        method="GET",
        path="/v1/audit-log.json",
        handler=export_events_json,
        summary="Export the audit log as JSON, newest first: an array of events",
        right="audit:read",
        query=EventQuery,
        answer=EventExport,
    ),
    Operation(
        method="GET",
        path="/v1/audit-log/{event_id}",
        handler=get_event,
        summary="Read an event of the audit log",
        right="audit:read",
        answer=Event,
    ),
)
