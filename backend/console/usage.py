"""Usage: this month against the plan, and what came in on the days that one asks for."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from types import MappingProxyType
from typing import Any

from starlette.responses import Response

from backend.console.charts import outcomes_chart
from backend.console.formats import count, size
from backend.console.pages import Page
from backend.console.visits import Visit
from backend.forms.documents import FormList
from backend.usage.routes import DAYS_MAX
from backend.usage.schemas import Usage, UsageDay, UsageDays
from contracts.problems import Problem, Rejected
from contracts.usage import day_of

_USAGE = ("GET", "/v1/usage")
_DAYS = ("GET", "/v1/usage/daily")
_FORMS = ("GET", "/v1/forms")
_FORMS_LISTED = 100
BETWEEN = "between"
SPANS = (
    ("7", "Last 7 days"),
    ("30", "Last 30 days"),
    ("90", "Last 90 days"),
    ("365", "Last 12 months"),
    (BETWEEN, "Between two days"),
)
_SPAN = "30"
# More columns than that are too narrow to tell apart.
_COLUMNS_MAX = 92
# What can be done about the refusals that somebody can do something about.
_ADVICE: Mapping[str, str] = MappingProxyType(
    {
        Problem.BAD_BODY.slug: "A program sends what is neither a form nor JSON.",
        Problem.BODY_TOO_LARGE.slug: "Send less: files go as file fields, not as text.",
        Problem.FILE_TOO_LARGE.slug: "The plan says how large a file may be.",
        Problem.FORM_NOT_LIVE.slug: "The form is paused: resume it to take submissions.",
        Problem.INVALID_KEY.slug: "The key is unknown, revoked or expired, or not for this form.",
        Problem.IP_NOT_ALLOWED.slug: "The key is used from a network that it is not allowed from.",
        Problem.ORIGIN_NOT_ALLOWED.slug: "Add the site to the form's allowed origins, if it is "
        "yours.",
        Problem.QUOTA_EXCEEDED.slug: "Choose a larger plan, or wait for the next month.",
        Problem.RATE_LIMITED.slug: "More came at once than the form's rate limit lets in.",
        Problem.TURNSTILE_FAILED.slug: "Mostly programs. If people tell you of it, look at the "
        "widget and its keys.",
        Problem.UNAVAILABLE.slug: "The server could not keep them just then: whoever sent them "
        "was told to try again.",
        Problem.UPLOADS_NOT_ALLOWED.slug: "The plan allows no files.",
        Problem.VALIDATION_ERROR.slug: "A declared field was missing, or not of its type.",
    }
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """How often posts were refused for a reason, and what can be done about it."""

    title: str
    advice: str
    posts: int


@dataclass(frozen=True, slots=True)
class _Row:
    """A day or a month in the table."""

    name: str
    figures: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked for. ``first`` and ``last`` are days, as ``2026-06-30``."""

    span: str
    first: str
    last: str
    form_id: str

    @classmethod
    def of(cls, visit: Visit) -> "_Question":
        query, today = visit.query, date.fromisoformat(day_of(visit.services.clock.now_ms()))
        span = query.get("span", _SPAN)
        if span not in dict(SPANS):
            span = _SPAN
        form_id = query.get("form_id", "")
        days = int(_SPAN) if span == BETWEEN else int(span)
        first, last = (today - timedelta(days=days - 1)).isoformat(), today.isoformat()
        if span == BETWEEN:
            first, last = query.get("from") or first, query.get("to") or last
        return cls(span, first, last, form_id)

    def query(self) -> dict[str, str]:
        """It, as the API is asked."""
        form = {"form_id": self.form_id} if self.form_id else {}
        return {"from": self.first, "to": self.last} | form


async def show_usage(visit: Visit) -> Response:
    asked = _Question.of(visit)
    month = await visit.api.ask(Usage, *_USAGE)
    forms = None
    if visit.api.may(*_FORMS):
        forms = await visit.api.ask(FormList, *_FORMS, query={"limit": _FORMS_LISTED})
    shown: dict[str, Any] = {
        "month": month,
        "asked": asked,
        "spans": SPANS,
        "days_max": DAYS_MAX,
        "forms": [(form.id, form.name) for form in forms.data] if forms else [],
    }
    try:
        days = (await visit.api.ask(UsageDays, *_DAYS, query=asked.query())).data
    except Rejected as rejected:
        return visit.refused("usage_page.html", rejected, **shown, **_figures([]))
    return visit.render("usage_page.html", **shown, **_figures(days))


def _figures(days: Sequence[UsageDay]) -> dict[str, Any]:
    """What the page shows of these days, the newest first."""
    if not days:
        return {"total": None}
    is_by_month = len(days) > _COLUMNS_MAX
    periods = _months(days) if is_by_month else list(days)
    names = [day.date[:7] if is_by_month else day.date for day in periods]
    chart, total = outcomes_chart(periods[::-1]), _sum(days)
    return {
        "total": total,
        "refusals": refusals_of(total.rejected or {}),
        "chart": replace(chart, labels=names[::-1]) if is_by_month else chart,
        "unit": "Month" if is_by_month else "Day",
        "columns": list(_figures_of(total)),
        "rows": [
            _Row(name, list(_figures_of(period).values()))
            for name, period in zip(names, periods, strict=True)
        ],
    }


def _figures_of(day: UsageDay) -> dict[str, str]:
    """The cells of a row by their columns."""
    figures = {
        "Submissions": count(day.submissions),
        "Held": count(day.held),
        "Spam": count(day.spam),
        "Test": count(day.test),
        "Probes": count(day.probes),
        "Files": size(day.file_bytes),
    }
    if day.rejected is not None:
        figures |= {
            "Refused": count(sum(day.rejected.values())),
            "Repeated": count(day.replays),
            "API calls": count(day.api_calls),
        }
    return figures


def refusals_of(rejected: Mapping[str, int]) -> list[Refusal]:
    """Why posts were refused, the most frequent reason first."""
    return [
        Refusal(Problem.by_slug(slug).title, _ADVICE.get(slug, ""), posts)
        for slug, posts in Counter(rejected).most_common()
    ]


def _months(days: Sequence[UsageDay]) -> list[UsageDay]:
    """The days of each month as one, which has the date of its newest."""
    by_month: dict[str, list[UsageDay]] = {}
    for day in days:
        by_month.setdefault(day.date[:7], []).append(day)
    return [_sum(of_month) for of_month in by_month.values()]


def _sum(days: Sequence[UsageDay]) -> UsageDay:
    has_account = days[0].api_calls is not None
    rejected: Counter[str] = Counter()
    for day in days:
        rejected.update(day.rejected or {})
    return UsageDay(
        date=days[0].date,
        submissions=sum(day.submissions for day in days),
        spam=sum(day.spam for day in days),
        held=sum(day.held for day in days),
        probes=sum(day.probes for day in days),
        test=sum(day.test for day in days),
        file_bytes=sum(day.file_bytes for day in days),
        replays=sum(day.replays or 0 for day in days) if has_account else None,
        rejected=dict(rejected) if has_account else None,
        api_calls=sum(day.api_calls or 0 for day in days) if has_account else None,
    )


pages = (Page(method="GET", path="/usage", handler=show_usage, uses=(_USAGE, _DAYS, _FORMS)),)
