"""What requests and answers about submissions look like."""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from backend.delivery.delivery_store import DeliveryRow
from backend.delivery.schemas import Delivery
from backend.operations import Body
from backend.paging import Page, PageQuery
from backend.schemas import Moment, Time, parse_moment, without_defaults
from backend.search.words import Query, parse_query
from backend.submissions.file_store import FileRow
from backend.submissions.files import File
from backend.submissions.links import FileLinks
from backend.submissions.store import Filter, SubmissionRow
from contracts.runtime.clock import iso
from contracts.submissions import SubmissionStatus

QUERY_MAX = 200
BULK_MAX = 1_000

FormId = Annotated[str, StringConstraints(pattern=r"^frm_[0-9a-hjkmnp-tv-z]{26}$")]
SubmissionId = Annotated[str, StringConstraints(pattern=r"^sub_[0-9a-hjkmnp-tv-z]{26}$")]


class _Filtered(BaseModel):
    status: Literal["received", "spam", "held", "all"] = "received"
    read: Literal["true", "false"] | None = Field(None, description="Only what is, or is not.")
    since: Moment | None = Field(None, description="Received at this time or later.")
    until: Moment | None = Field(None, description="Received before this time.")

    def filter(self) -> Filter:
        """The filter these parameters mean."""
        return Filter(
            status=None if self.status == "all" else self.status,
            is_read=None if self.read is None else self.read == "true",
            since=None if self.since is None else parse_moment(self.since),
            until=None if self.until is None else parse_moment(self.until),
        )


class SubmissionQuery(_Filtered, PageQuery):
    """Which submissions of a form to list."""

    q: str | None = Field(
        None,
        max_length=QUERY_MAX,
        description="Words that the values of the fields have, all of them, in any order; case and "
        "accents do not count. The last one may be the beginning of a longer word, from three "
        "characters on. While new submissions are still being indexed a page may have fewer than "
        "`limit`: only a `next_cursor` of null says that there are no more.",
        examples=["ada exam"],
    )

    def query(self) -> Query | None:
        """The words to look for; None if no text is given."""
        return parse_query(self.q) if self.q is not None and self.q.strip() else None


class AllSubmissionsQuery(SubmissionQuery):
    """Which submissions to list, of all forms."""

    form_id: FormId | None = Field(None, description="Only of this form.")


class NeighbourQuery(_Filtered):
    """The list that a submission stands in."""

    model_config = ConfigDict(extra="forbid")

    form_id: FormId | None = Field(None, description="Only of this form.")


class Neighbours(BaseModel):
    """What stands next to a submission in a list: ids, null at its ends."""

    newer: str | None = Field(examples=["sub_01jz8q6v4mq0c3e5r7t9w1y2a4"])
    older: str | None = Field(examples=["sub_01jz8q6v4mq0c3e5r7t9w1y2a3"])


class ExportQuery(BaseModel):
    """Which submissions of a form to export."""

    model_config = ConfigDict(extra="forbid")

    status: Literal["received", "spam", "held", "all"] = "all"
    since: Moment | None = Field(None, description="Received at this time or later.")
    until: Moment | None = Field(None, description="Received before this time.")

    def filter(self) -> Filter:
        """The filter these parameters mean."""
        return Filter(
            status=None if self.status == "all" else self.status,
            since=None if self.since is None else parse_moment(self.since),
            until=None if self.until is None else parse_moment(self.until),
        )


class CountQuery(BaseModel):
    """Which submissions of a form to count."""

    model_config = ConfigDict(extra="forbid")

    since: Moment | None = Field(None, description="Received at this time or later.")
    until: Moment | None = Field(None, description="Received before this time.")

    def filter(self) -> Filter:
        """The filter these parameters mean."""
        return Filter(
            since=None if self.since is None else parse_moment(self.since),
            until=None if self.until is None else parse_moment(self.until),
        )


class SubmissionCount(BaseModel):
    """How many submissions there are, by how they are filed."""

    received: int
    held: int
    spam: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.received + self.held + self.spam


class ChangeSubmission(Body):
    """What to change. Filing one that is held as received releases it. None of it changes what the
    submission cost: a held one was charged when it came, and spam stays free."""

    model_config = ConfigDict(json_schema_extra=without_defaults)

    status: Literal["received", "spam"] = "received"
    read: bool = False


class BulkChange(Body):
    """What to do with many submissions at once."""

    action: Literal["mark_received", "mark_spam", "mark_read", "mark_unread", "delete"] = Field(
        description="`delete` needs the scope `submissions:delete`, too."
    )
    ids: list[SubmissionId] = Field(min_length=1, max_length=BULK_MAX)


class BulkReport(BaseModel):
    """What became of them: all in one transaction."""

    done: int = Field(description="How many were marked or deleted.", examples=[2])
    missing: list[str] = Field(description="Those of the ids that there is no submission of.")


class TraceRow(BaseModel):
    """One check of a post, in the order in which they ran."""

    check: str = Field(examples=["rate limit"])
    verdict: str = Field(examples=["admitted"])
    microseconds: int = Field(description="Since the check before.")


class DeliveryTally(BaseModel):
    """How many of a submission's deliveries are where."""

    waiting: bool = Field(description="Whether it has yet to be found out whom to tell.")
    pending: int = 0
    delivered: int = 0
    failed: int = 0
    parked: int = 0


class DecisionTrace(BaseModel):
    """How the post came to be accepted, and what followed."""

    checks: list[TraceRow]
    charged: int = Field(description="Units of the monthly quota that it cost.")
    deliveries: DeliveryTally


class Submission(BaseModel):
    """An accepted post."""

    id: str
    form_id: str
    status: SubmissionStatus
    read: bool = Field(description="Whether somebody marked it so.")
    payload: dict[str, Any] = Field(
        description="The visitor's fields: each a string, or a list of strings if repeated.",
        examples=[{"email": "ada@example.com", "topic": ["sales", "press"]}],
    )
    files: list[File] = Field(description="In the order of the form.")
    meta: dict[str, Any] = Field(
        description="What is known of the post: `ip`, `country`, `user_agent`, `referrer`, "
        "`charset_guessed`, each if it is; `key_id` if an API key posted it; `probe` if it is one."
    )
    trace: DecisionTrace
    deliveries: list[Delivery] = Field(
        description="What went out because of it in the last 30 days, or is to go out: webhooks "
        "and mails, in the order in which they were made."
    )
    received_at: Time

    @classmethod
    def of(
        cls,
        row: SubmissionRow,
        files: Sequence[FileRow],
        links: FileLinks,
        deliveries: Sequence[DeliveryRow] = (),
        *,
        is_waiting: bool = False,
    ) -> "Submission":
        """The answer for a row and those of its files and deliveries; ``is_waiting`` says that it
        is in the outbox."""
        meta = orjson.loads(row.meta)
        if row.key_id is not None:
            meta["key_id"] = row.key_id
        return cls(
            id=row.id,
            form_id=row.form_id,
            status=SubmissionStatus(row.status),
            read=row.is_read,
            payload=orjson.loads(row.payload),
            files=[File.of(file, links) for file in files],
            meta=meta,
            trace=DecisionTrace(
                checks=_trace_rows(row.trace),
                charged=row.charged,
                deliveries=DeliveryTally(
                    waiting=is_waiting, **Counter(delivery.status for delivery in deliveries)
                ),
            ),
            deliveries=[Delivery.of(delivery) for delivery in deliveries],
            received_at=iso(row.received_at),
        )


class SubmissionList(Page[Submission]):
    """A page of submissions."""


def _trace_rows(text: str) -> list[TraceRow]:
    return [
        TraceRow(check=check, verdict=verdict, microseconds=microseconds)
        for check, verdict, microseconds in orjson.loads(text)
    ]
