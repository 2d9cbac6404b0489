"""What the API says of usage."""

from datetime import date
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from backend.forms.documents import FormQuery
from backend.paging import Page
from backend.plans.routes import PlanLimits
from backend.schemas import Time
from backend.usage.service import AccountCounts, DayUsage, MonthUsage
from backend.usage.store import FormSpan
from contracts.runtime.clock import iso

_OF_ACCOUNT = (
    " Counted for the whole account: null for a credential that reaches some of its forms only."
)


def _day(text: str) -> str:
    try:
        is_day = date.fromisoformat(text).isoformat() == text
    except ValueError:
        is_day = False
    if not is_day:
        raise PydanticCustomError("bad_date", "Give a day as 2026-06-30.")
    return text


Day = Annotated[str, AfterValidator(_day), WithJsonSchema({"type": "string", "format": "date"})]
"""A day in UTC."""


class SpanQuery(BaseModel):
    """Which days."""

    model_config = ConfigDict(extra="forbid")

    first: Day | None = Field(
        None, alias="from", description="The first day; by default 29 days before the last."
    )
    last: Day | None = Field(None, alias="to", description="The last day; by default today.")


class DaysQuery(SpanQuery):
    """Which days, and of which form."""

    form_id: str | None = Field(None, description="Only what was stored for this form.")


class FormsQuery(FormQuery, SpanQuery):
    """Which forms, as they are listed, and which days."""


class Quota(BaseModel):
    """Submissions that count against the monthly quota: spam and test submissions do not."""

    used: int
    limit: int | None = Field(description="Null is unlimited.")
    percentage: float | None = Field(
        description="Used, of the limit; null without a limit." + _OF_ACCOUNT
    )


class Stored(BaseModel):
    """What was stored. A submission counts on the day it was received, whatever becomes of it
    later."""

    spam: int
    held: int = Field(description="Held for review; they count against the quota, too.")
    probes: int = Field(description="Probes of the form's owner; they count, too.")
    test: int = Field(description="Submissions to forms of `mode: test`.")
    file_bytes: int


class Counts(Stored):
    """What was counted."""

    replays: int | None = Field(
        description="Posts that were answered with the receipt of an earlier one." + _OF_ACCOUNT
    )
    rejected: dict[str, int] | None = Field(
        description="Refused posts to the account's forms, by the slug of the problem."
        + _OF_ACCOUNT,
        examples=[{"rate-limited": 3}],
    )
    api_calls: int | None = Field(description="Authenticated calls of this API." + _OF_ACCOUNT)


class Usage(Counts):
    """The current month, in UTC. For a credential that reaches some of the account's forms only,
    every figure is of these forms."""

    month: str = Field(examples=["2026-06"])
    resets_at: Time = Field(description="When the quota starts anew.")
    submissions: Quota
    plan: str
    limits: PlanLimits

    @classmethod
    def of(cls, month: MonthUsage) -> "Usage":
        """The answer for a month."""
        return cls(
            month=month.month,
            resets_at=iso(month.resets_at),
            submissions=Quota(
                used=month.used,
                limit=month.plan.submissions_per_month,
                percentage=_percentage(month),
            ),
            plan=month.plan_name,
            limits=PlanLimits.of(month.plan),
            spam=month.stored.spam,
            held=month.stored.held,
            probes=month.stored.probes,
            test=month.stored.test,
            file_bytes=month.stored.file_bytes,
            **_account(month.account),
        )


class UsageDay(Counts):
    """One day, in UTC."""

    date: Day
    submissions: int = Field(description="Those that count against the quota.")

    @classmethod
    def of(cls, day: DayUsage) -> "UsageDay":
        """The answer for a day."""
        return cls(date=day.day, **day.stored._asdict(), **_account(day.account))


class UsageDays(BaseModel):
    """Every day that was asked for, newest first, also those on which nothing happened."""

    data: list[UsageDay]
    next_cursor: None


class FormUsage(Stored):
    """What was stored for a form in the days that were asked for."""

    form_id: str
    submissions: int = Field(description="Those that count against the quota.")
    last_day: Day | None = Field(
        description="The last of these days on which anything was stored; null if there is none."
    )

    @classmethod
    def of(cls, form_id: str, span: FormSpan) -> "FormUsage":
        """The answer for a form."""
        return cls(form_id=form_id, last_day=span.last_day, **span.stored._asdict())


class FormUsageList(Page[FormUsage]):
    """A page of usage by form."""


def _percentage(month: MonthUsage) -> float | None:
    limit = month.plan.submissions_per_month
    if not limit or month.account is None:
        return None
    return round(month.used * 100 / limit, 1)


def _account(counts: AccountCounts | None) -> dict[str, Any]:
    if counts is None:
        return {"replays": None, "rejected": None, "api_calls": None}
    return {
        "replays": counts.replays,
        "rejected": counts.rejected,
        "api_calls": counts.api_calls,
    }
