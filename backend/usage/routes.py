"""HTTP of usage."""

from datetime import date, timedelta

from backend.answers import invalid
from backend.api import Call, Operation
from backend.paging import cut
from backend.usage.schemas import (
    DaysQuery,
    FormsQuery,
    FormUsage,
    FormUsageList,
    SpanQuery,
    Usage,
    UsageDay,
    UsageDays,
)
from backend.usage.store import FormSpan
from contracts.problems import Problem

DAYS_MAX = 366
_DAYS = 30


async def get_usage(call: Call) -> Usage:
    return Usage.of(await call.services.usage.this_month(call.principal))


async def list_usage_days(call: Call) -> UsageDays:
    query: DaysQuery = call.query
    first, last = _span(query, call.services.usage.today())
    days = await call.services.usage.days(call.principal, first, last, query.form_id)
    return UsageDays(data=[UsageDay.of(day) for day in days], next_cursor=None)


async def list_usage_of_forms(call: Call) -> FormUsageList:
    query: FormsQuery = call.query
    first, last = _span(query, call.services.usage.today())
    rows = await call.services.forms.list(
        call.principal,
        query.before("frm"),
        query.limit + 1,
        environment=query.environment,
        status=query.status,
    )
    page, next_cursor = cut(rows, query.limit)
    ids = [row.id for row in page]
    spans = await call.services.usage.of_forms(call.principal, ids, first, last)
    return FormUsageList(
        data=[FormUsage.of(id, spans.get(id, FormSpan())) for id in ids], next_cursor=next_cursor
    )


def _span(query: SpanQuery, today: date) -> tuple[date, date]:
    """The first and the last day that are asked for. Raises Rejected(VALIDATION_ERROR)."""
    last = date.fromisoformat(query.last) if query.last else today
    if query.first is not None:
        first = date.fromisoformat(query.first)
    else:
        first = last - min(timedelta(days=_DAYS - 1), last - date.min)
    if first > last:
        raise invalid("from", "bad_span", "The first day is after the last.")
    if (last - first).days >= DAYS_MAX:
        raise invalid("from", "bad_span", f"Ask for {DAYS_MAX} days at most.")
    return first, last


operations = (
    Operation(
        method="GET",
        path="/v1/usage",
        handler=get_usage,
        summary="Read what this month has used",
        right="usage:read",
        answer=Usage,
    ),
    Operation(
        method="GET",
        path="/v1/usage/daily",
        handler=list_usage_days,
        summary="List usage by day, newest first",
        right="usage:read",
        query=DaysQuery,
        answer=UsageDays,
        problems=(Problem.NOT_FOUND,),
    ),
    Operation(
        method="GET",
        path="/v1/usage/forms",
        handler=list_usage_of_forms,
        summary="List usage by form, in the order of the list of forms",
        right="usage:read",
        query=FormsQuery,
        answer=FormUsageList,
    ),
)
