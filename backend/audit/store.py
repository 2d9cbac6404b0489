"""Queries on the audit log. Rows are added and, when they are old, removed; never changed.

Ids are time-ordered, and an event's is minted at ``occurred_at``: an index that ends in the id
serves the order of the list, its cursor, and its bounds in time at once.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, func, insert, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.audit.actions import MEANINGS, Action, ActorKind
from backend.tables import api_keys, audit_log, users
from contracts.ids import first_id


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event as it is stored; ``details`` is JSON text."""

    id: str
    account_id: str
    occurred_at: int
    actor_kind: str
    actor_id: str | None
    action: str
    target: str | None
    outcome: str
    address: str | None
    user_agent: str | None
    details: str | None
    count: int = 1


@dataclass(frozen=True, slots=True)
class FoundEvent(EventRow):
    """An event with what its actor is called today; None if it has no name, or is gone."""

    actor_name: str | None = None


@dataclass(frozen=True, slots=True)
class ActorFilter:
    """Which actor: that of the id; without one, those of the kind that have none."""

    kind: ActorKind
    id: str | None = None


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events: all if empty. Times are Unix milliseconds, ``until`` is exclusive."""

    actor: ActorFilter | None = None
    actions: tuple[Action, ...] | None = None
    targets: frozenset[str] | None = None
    since: int | None = None
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Sight:
    """Whose events: those of the account; if ``is_partial``, only what ``key_id`` did and what was
    done to ``targets``."""

    account_id: str
    is_partial: bool = False
    key_id: str | None = None
    targets: frozenset[str] = frozenset()

    @property
    def own(self) -> ActorFilter:
        """The actor that looks."""
        return ActorFilter("key", self.key_id)


Conditions = list[ColumnElement[bool]]

_columns = [audit_log.c[field.name] for field in fields(EventRow)]


async def insert_events(connection: AsyncConnection, events: Iterable[EventRow]) -> None:
    """Adds events, perhaps none."""
    rows = [asdict(event) for event in events]
    if rows:
        await connection.execute(insert(audit_log), rows)


async def list_events(
    connection: AsyncConnection, sight: Sight, wanted: EventFilter, before: str | None, limit: int
) -> list[FoundEvent]:
    """The events in sight, newest first, those older than ``before``."""
    branches = _branches(sight, wanted)
    if not branches:
        return []
    common = [audit_log.c.account_id == sight.account_id, *_bounds(wanted, before)]
    newest = [_newest([*common, *branch], limit).subquery() for branch in branches]
    statement = _found().where(audit_log.c.id.in_(union_all(*map(select, newest))))
    statement = statement.order_by(audit_log.c.id.desc()).limit(limit)
    return [FoundEvent(**row._mapping) for row in await connection.execute(statement)]


async def find_event(connection: AsyncConnection, sight: Sight, id: str) -> FoundEvent | None:
    """An event in sight."""
    statement = _found().where(audit_log.c.id == id, _in_sight(sight))
    row = (await connection.execute(statement)).first()
    return FoundEvent(**row._mapping) if row else None


async def delete_before(connection: AsyncConnection, before_ms: int, limit: int) -> int:
    """Removes the oldest events of before that time; how many it were."""
    old = (
        select(audit_log.c.id)
        .where(audit_log.c.id < first_id("evt", before_ms))
        .order_by(audit_log.c.id)
        .limit(limit)
    )
    result = await connection.execute(delete(audit_log).where(audit_log.c.id.in_(old)))
    return result.rowcount


def _found() -> Select[Any]:
    # An actor may be of another account, the one that runs this server: its name is not told.
    key = (api_keys.c.id == audit_log.c.actor_id) & (
        api_keys.c.account_id == audit_log.c.account_id
    )
    user = (users.c.id == audit_log.c.actor_id) & (users.c.account_id == audit_log.c.account_id)
    name = func.coalesce(api_keys.c.name, users.c.email).label("actor_name")
    return select(*_columns, name).select_from(
        audit_log.outerjoin(api_keys, key).outerjoin(users, user)
    )


def _newest(conditions: Conditions, limit: int) -> Select[Any]:
    return select(audit_log.c.id).where(*conditions).order_by(audit_log.c.id.desc()).limit(limit)


def _bounds(wanted: EventFilter, before: str | None) -> Conditions:
    bounds: Conditions = []
    if wanted.since is not None:
        bounds.append(audit_log.c.id >= first_id("evt", wanted.since))
    ends = [] if before is None else [before]
    if wanted.until is not None:
        ends.append(first_id("evt", wanted.until))
    if ends:
        # The lesser, here: SQLite begins at one of two, and it may be the other.
        bounds.append(audit_log.c.id < min(ends))
    return bounds


def _branches(sight: Sight, wanted: EventFilter) -> list[Conditions]:
    """The conditions of sets of events that are together the wanted ones. An event may be in
    several."""
    if not sight.is_partial:
        return _wanted_branches(wanted)
    is_own = wanted.actor in (None, sight.own)
    targets = sight.targets if wanted.targets is None else sight.targets & wanted.targets
    return [
        *(_wanted_branches(replace(wanted, actor=sight.own)) if is_own else []),
        *(_wanted_branches(replace(wanted, targets=targets)) if targets else []),
    ]


def _wanted_branches(wanted: EventFilter) -> list[Conditions]:
    """Split so that an index gives each set in the order of ids: whatever is wanted, no more rows
    are read than a page has, for each action; or those of a target, which has few."""
    events = audit_log.c
    if wanted.targets is not None:
        return [[events.target.in_(wanted.targets), *_unindexed(wanted)]]
    if wanted.actor is None and wanted.actions is None:
        return [[]]
    actor: Conditions = []
    if wanted.actor is not None:
        actor = [events.actor_kind == wanted.actor.kind, events.actor_id == wanted.actor.id]
    actions = MEANINGS if wanted.actions is None else wanted.actions
    return [[events.action == action, *actor] for action in actions]


def _unindexed(wanted: EventFilter) -> Conditions:
    """Conditions on expressions, for which no index is chosen: that of the target is better."""
    events = audit_log.c
    conditions: Conditions = []
    if wanted.actor is not None:
        actor_id = func.coalesce(events.actor_id, "")
        conditions.append(func.coalesce(events.actor_kind, "") == wanted.actor.kind)
        conditions.append(actor_id == (wanted.actor.id or ""))
    if wanted.actions is not None:
        conditions.append(func.coalesce(events.action, "").in_(wanted.actions))
    return conditions


def _in_sight(sight: Sight) -> ColumnElement[bool]:
    events = audit_log.c
    is_ours = events.account_id == sight.account_id
    if not sight.is_partial:
        return is_ours
    is_own = (events.actor_kind == "key") & (events.actor_id == sight.key_id)
    return is_ours & (is_own | events.target.in_(sight.targets))
