"""What the API shows of the audit log, and which events one may ask for."""

from collections.abc import Sequence
from typing import Annotated, Any, Self, get_args

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, RootModel, WithJsonSchema
from pydantic_core import PydanticCustomError

from backend.audit.actions import MEANINGS, Action, ActorKind, Outcome, outcome_of
from backend.audit.details import redacted
from backend.audit.store import ActorFilter, EventFilter, FoundEvent
from backend.paging import Page, PageQuery
from backend.schemas import Moment, Time, parse_moment
from contracts.runtime.clock import iso

_KIND_OF_PREFIX: dict[str, ActorKind] = {"key": "key", "usr": "user", "app": "app"}
_WITHOUT_ID: tuple[ActorKind, ...] = ("operator", "system", "anonymous")
_ACTOR = rf"^(?:{'|'.join(_WITHOUT_ID)}|(?:{'|'.join(_KIND_OF_PREFIX)})_[0-9a-hjkmnp-tv-z]{{26}})$"
_NOUNS = sorted({action.partition(".")[0] for action in MEANINGS})


def actions_named(name: str) -> tuple[Action, ...]:
    """The action of that name, or all of a noun: ``form.``; none if it is neither."""
    return tuple(
        action
        for action in MEANINGS
        if action == name or (name.endswith(".") and action.startswith(name))
    )


def _known(name: str) -> str:
    if not actions_named(name):
        raise PydanticCustomError(
            "unknown_action", "There is no such action. Name one, or all of a noun: form."
        )
    return name


ActionName = Annotated[
    str,
    AfterValidator(_known),
    WithJsonSchema(
        {"type": "string", "enum": [*get_args(Action), *(f"{noun}." for noun in _NOUNS)]}
    ),
]


class EventQuery(BaseModel):
    """Which events."""

    model_config = ConfigDict(extra="forbid")

    actor: str | None = Field(
        None,
        pattern=_ACTOR,
        description="The id of a key, member or app; or `operator`, `system`, `anonymous`.",
    )
    action: ActionName | None = Field(
        None, description="One action, such as `form.created`, or all of a noun: `form.`"
    )
    target: str | None = Field(
        None,
        pattern="^[A-Za-z0-9_-]{1,64}$",
        description="What it was done to: an id, or the `prefix` of a refused key.",
    )
    since: Moment | None = Field(None, description="Occurred at this time or later.")
    until: Moment | None = Field(None, description="Occurred before this time.")
    outcome: Outcome | None = None

    def filter(self) -> EventFilter:
        """The filter these parameters mean."""
        return EventFilter(
            actor=None if self.actor is None else _actor_filter(self.actor),
            actions=self._actions(),
            targets=None if self.target is None else frozenset({self.target}),
            since=None if self.since is None else parse_moment(self.since),
            until=None if self.until is None else parse_moment(self.until),
        )

    def _actions(self) -> tuple[Action, ...] | None:
        if self.action is None and self.outcome is None:
            return None
        named = tuple(MEANINGS) if self.action is None else actions_named(self.action)
        return tuple(action for action in named if self.outcome in (None, outcome_of(action)))


def _actor_filter(name: str) -> ActorFilter:
    for kind in _WITHOUT_ID:
        if name == kind:
            return ActorFilter(kind)
    return ActorFilter(_KIND_OF_PREFIX[name.partition("_")[0]], name)


class EventPageQuery(PageQuery, EventQuery):
    """Which events to list."""


class Actor(BaseModel):
    """Who did it."""

    kind: ActorKind = Field(
        description="`key`, `user` and `app` have an id; `operator` is the command line beside the "
        "database, `system` the server by itself, `anonymous` whoever shows no valid credential."
    )
    id: str | None
    name: str | None = Field(
        description="What the key is called now, or the member's address; null if it is gone."
    )


class Event(BaseModel):
    """Something that was done, or refused."""

    id: str
    actor: Actor
    action: str = Field(examples=["form.created"])
    target: str | None = Field(
        description="What it was done to: an id, or the `prefix` of a refused key."
    )
    outcome: Outcome
    address: str | None = Field(
        description="Where the request came from; a network if several addresses of it did."
    )
    user_agent: str | None
    details: dict[str, Any] = Field(examples=[{"changed": ["name", "status"]}])
    count: int = Field(description="How often, where what repeats is gathered.")
    occurred_at: Time = Field(description="The last time, where what repeats is gathered.")

    @classmethod
    def of(cls, row: FoundEvent) -> Self:
        """The answer for a row."""
        return cls.model_construct(
            id=row.id,
            actor=Actor.model_construct(
                kind=row.actor_kind,
                id=row.actor_id,
                name=row.actor_name and redacted(row.actor_name),
            ),
            action=row.action,
            target=row.target,
            outcome=row.outcome,
            address=row.address,
            user_agent=row.user_agent,
            details=orjson.loads(row.details) if row.details else {},
            count=row.count,
            occurred_at=iso(row.occurred_at),
        )


class EventList(Page[Event]):
    """A page of events."""


class EventExport(RootModel[list[Event]]):
    """All events."""


CSV_COLUMNS = (
    "id",
    "occurred_at",
    "action",
    "target",
    "outcome",
    "count",
    "actor_kind",
    "actor_id",
    "actor_name",
    "address",
    "user_agent",
    "details",
)


def csv_rows(rows: Sequence[FoundEvent]) -> list[list[str]]:
    """The cells of events, by ``CSV_COLUMNS``; details are JSON."""
    return [
        [
            row.id,
            iso(row.occurred_at),
            row.action,
            row.target or "",
            row.outcome,
            str(row.count),
            row.actor_kind,
            row.actor_id or "",
            redacted(row.actor_name or ""),
            row.address or "",
            row.user_agent or "",
            row.details or "",
        ]
        for row in rows
    ]
