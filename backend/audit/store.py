"""Queries on the audit log. Rows are added, never changed."""

from dataclasses import asdict, dataclass

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.tables import audit_log


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


async def insert_event(connection: AsyncConnection, event: EventRow) -> None:
    """Adds an event."""
    await connection.execute(insert(audit_log).values(asdict(event)))
