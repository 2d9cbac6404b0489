"""What requests and answers about deliveries look like."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, Field, StringConstraints

from backend.delivery.delivery_store import AttemptRow, DeliveryRow, ReplayWindow
from backend.operations import Body
from backend.paging import Page, PageQuery
from backend.schemas import Moment, Time, parse_moment
from contracts.runtime.clock import iso

BULK_MAX = 1_000

DeliveryId = Annotated[str, StringConstraints(pattern=r"^whd_[0-9a-hjkmnp-tv-z]{26}$")]
SubmissionId = Annotated[str, StringConstraints(pattern=r"^sub_[0-9a-hjkmnp-tv-z]{26}$")]
DeliveryStatus = Literal["pending", "delivered", "failed", "parked"]


class DeliveryQuery(PageQuery):
    """Which deliveries to a webhook to list."""

    status: DeliveryStatus | None = Field(None, description="Only those.")


class Delivery(BaseModel):
    """One event on its way to one target."""

    id: str
    kind: Literal["webhook", "mail"]
    event: str = Field(examples=["submission.created"])
    form_id: str | None
    submission_id: str | None
    target: str | None = Field(
        description="The id of the webhook, or the address of the mail.",
        examples=["ada@example.com"],
    )
    status: DeliveryStatus = Field(
        description="`parked` waits for its webhook to be enabled again."
    )
    attempts: int = Field(description="Attempts that ended.", examples=[1])
    next_attempt_at: Time | None = Field(description="When a pending one is attempted next.")
    last_status: int | None = Field(description="The last answer's status, of HTTP or SMTP.")
    last_error: str | None = Field(description="What went wrong last.")
    replay_of: str | None = Field(description="The delivery that this one repeats.")
    created_at: Time
    finished_at: Time | None

    @classmethod
    def of(cls, row: DeliveryRow) -> "Delivery":
        """The answer for a row."""
        return cls(**_members(row))


class DeliveryList(Page[Delivery]):
    """A page of deliveries."""


class SentRequest(BaseModel):
    """What was sent."""

    url: str
    headers: dict[str, str] = Field(
        description="Values of your own headers are left out.",
        examples=[{"x-formflow-attempt": "1"}],
    )
    body: str | None = Field(
        description="Made of the submission anew, as it was sent; null if that is not possible, or "
        "the credential lacks the scope `submissions:read`."
    )


class DeliveryAttempt(BaseModel):
    """One attempt."""

    attempt: int = Field(description="Its number, from 1 on.", examples=[1])
    started_at: Time
    duration_ms: int
    status: int | None = Field(description="The answer's status, of HTTP or SMTP.", examples=[200])
    error: str | None = Field(description="What went wrong.")
    answer: str | None = Field(description="The first 4 KiB of the answer, as text.")
    request: SentRequest | None


class DeliveryWithLog(Delivery):
    """A delivery with its attempts, which are kept for 30 days."""

    log: list[DeliveryAttempt]

    @classmethod
    def with_log(
        cls, row: DeliveryRow, attempts: Sequence[AttemptRow], bodies: Sequence[str | None]
    ) -> "DeliveryWithLog":
        """The answer for a row, its attempts, and what was sent at each of them."""
        log = [_attempt(attempt, body) for attempt, body in zip(attempts, bodies, strict=True)]
        return cls(**_members(row), log=log)


class ReplayDeliveries(Body):
    """Which deliveries to repeat."""

    ids: list[DeliveryId] = Field(min_length=1, max_length=BULK_MAX)


class ReplayReport(BaseModel):
    """What became of them: all in one transaction."""

    replayed: list[str] = Field(description="The ids of the new deliveries.")
    missing: list[str] = Field(description="Those of the ids that there is nothing of to repeat.")


class ReplaySince(Body):
    """Which submissions a webhook is sent again, or after all."""

    since: Moment = Field(description="Received at this time or later.")
    until: Moment | None = Field(None, description="Received before this time.")
    which: Literal["undelivered", "all"] = Field(
        "undelivered",
        description="`undelivered`: those that it has not acknowledged and that are not on their "
        "way, whether an attempt was made or not.",
    )
    after: SubmissionId | None = Field(
        None, description="The `last` of the answer before: goes on behind it."
    )

    def window(self) -> ReplayWindow:
        """The submissions that these members mean."""
        until = None if self.until is None else parse_moment(self.until)
        return ReplayWindow(parse_moment(self.since), until, self.which == "all", self.after or "")


class ReplayCount(BaseModel):
    """How many deliveries were made."""

    replayed: int = Field(examples=[12])
    last: str | None = Field(
        description="The last submission, if there may be more: ask again, `after` it."
    )


def _members(row: DeliveryRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "kind": row.kind,
        "event": row.event,
        "form_id": row.form_id,
        "submission_id": row.submission_id,
        "target": row.webhook_id or row.recipient,
        "status": row.status,
        "attempts": row.attempts,
        "next_attempt_at": iso(row.next_at) if row.status == "pending" else None,
        "last_status": row.last_status,
        "last_error": row.last_error,
        "replay_of": row.replay_of,
        "created_at": iso(row.created_at),
        "finished_at": None if row.finished_at is None else iso(row.finished_at),
    }


def _attempt(row: AttemptRow, body: str | None) -> DeliveryAttempt:
    request = None
    if row.request_url is not None:
        headers = orjson.loads(row.request_headers) if row.request_headers else {}
        request = SentRequest(url=row.request_url, headers=headers, body=body)
    return DeliveryAttempt(
        attempt=row.attempt,
        started_at=iso(row.started_at),
        duration_ms=row.duration_ms,
        status=row.status,
        error=row.error,
        answer=row.answer,
        request=request,
    )
