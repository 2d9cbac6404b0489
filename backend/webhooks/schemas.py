"""The bodies and answers of webhooks."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from backend.operations import Body
from backend.paging import Page, PageQuery
from backend.schemas import Time, without_defaults
from backend.webhooks.headers import Headers, masked
from backend.webhooks.store import WebhookRow
from contracts.runtime.clock import iso

URL_MAX = 2048


def _once(events: list[str]) -> list[str]:
    return list(dict.fromkeys(events))


Url = Annotated[
    str,
    StringConstraints(min_length=1, max_length=URL_MAX),
    Field(
        description="Where it is posted to: `https`, and no address of a private network unless "
        "the operator allows it. One for Telegram names the bot and the chat: "
        "`https://api.telegram.org/bot…/sendMessage?chat_id=…`.",
        examples=["https://example.com/hooks/formflow"],
    ),
]

Format = Annotated[
    Literal["formflow", "slack", "discord", "telegram"],
    Field(description="What the receiver understands: our envelope, or a chat's messages."),
]

Events = Annotated[
    list[Literal["submission.created"]],
    Field(min_length=1, max_length=10, description="What it is told of."),
    AfterValidator(_once),
]

Enabled = Annotated[
    bool,
    Field(
        description="Whether anything is sent to it. What is pending when it is disabled is parked "
        "and goes out when it is enabled again; that also forgets its failures."
    ),
]


class NewWebhook(Body):
    """A webhook to create."""

    url: Url
    format: Format = "formflow"
    events: Events = ["submission.created"]
    enabled: Enabled = True
    headers: Headers = {}

    def members(self) -> dict[str, Any]:
        """All members, as a webhook's row has them."""
        return _as_stored(self.model_dump())


class WebhookChanges(Body):
    """What to change of a webhook: the members that are named."""

    model_config = ConfigDict(json_schema_extra=without_defaults)

    url: Url = ""
    format: Format = "formflow"
    events: Events = []
    enabled: Enabled = True
    headers: Headers = {}

    def named(self) -> dict[str, Any]:
        """The members that the request names, as a webhook's row has them."""
        return _as_stored(self.model_dump(exclude_unset=True))


class Webhook(BaseModel):
    """A webhook, without its secret."""

    id: str
    form_id: str
    url: str
    format: str
    events: list[str]
    enabled: bool
    disabled_reason: str | None = Field(
        description="Why nothing is sent to it; null while it is enabled."
    )
    headers: dict[str, str] = Field(
        description="Its own headers, each with `…` in place of its value."
    )
    last_delivery_at: Time | None = Field(description="When it took a delivery last.")
    failing_since: Time | None = Field(
        description="When the first failed of the deliveries that have failed since; null if the "
        "last one succeeded."
    )
    previous_secret_until: Time | None = Field(
        description="Until when the secret before the last rotation signs, too; null if there was "
        "no rotation."
    )
    created_at: Time
    updated_at: Time

    @classmethod
    def of(cls, row: WebhookRow, **more: str) -> Self:
        """The answer for a row."""
        return cls(
            id=row.id,
            form_id=row.form_id,
            url=row.url,
            format=row.format,
            events=list(row.events),
            enabled=row.enabled,
            disabled_reason=row.disabled_reason,
            headers=masked(row.headers),
            last_delivery_at=_time(row.last_delivery_at),
            failing_since=_time(row.failing_since),
            previous_secret_until=_time(row.previous_secret_until),
            created_at=iso(row.created_at),
            updated_at=iso(row.updated_at),
            **more,
        )


class CreatedWebhook(Webhook):
    """A webhook with a secret just made: the only answer that shows it."""

    secret: str = Field(
        description="What its requests are signed with. It is not shown again.",
        examples=["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDazmqsWBaPPo="],
    )


class WebhookQuery(PageQuery):
    """Which webhooks to list."""

    failing: Literal["true"] | None = Field(
        None, description="Only those whose last delivery failed for good."
    )


class WebhookList(Page[Webhook]):
    """A page of webhooks."""


class WebhookOutcome(BaseModel):
    """What became of one request to a webhook."""

    delivery_id: str = Field(description="As the request names it; the log has it under this id.")
    delivered: bool = Field(description="Whether it was answered with 2xx in time.")
    status: int | None = Field(description="The status of the answer, if there was one.")
    duration_ms: int
    error: str | None = Field(description="What went wrong.")
    answer: str | None = Field(description="The first 4 KiB of the answer.")


def _as_stored(members: dict[str, Any]) -> dict[str, Any]:
    if "events" in members:
        members["events"] = tuple(members["events"])
    return members


def _time(unix_ms: int | None) -> str | None:
    return None if unix_ms is None else iso(unix_ms)
