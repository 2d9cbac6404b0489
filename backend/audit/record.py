"""Recording what was done, in the transaction that does it: neither is without the other."""

from typing import Any

from backend.access import Principal
from backend.audit.actions import Action, Actor, outcome_of
from backend.audit.details import encode_details, shown_agent
from backend.audit.store import EventRow, insert_events
from backend.caller import Caller
from backend.db import Connection
from contracts.ids import new_id

SYSTEM = Actor("system")
ANONYMOUS = Actor("anonymous")
NOWHERE = Caller()


async def record(
    connection: Connection,
    principal: Principal,
    action: Action,
    target: str | None,
    now_ms: int,
    **details: Any,
) -> None:
    """Adds the event that ``principal`` did ``action`` on the object of the id ``target``.

    ``details`` are names and plain values, never a secret: what looks like one is left out.
    """
    await record_by(
        connection,
        principal.actor,
        principal.account_id,
        action,
        target,
        now_ms,
        caller=principal.caller,
        **details,
    )


async def record_by(
    connection: Connection,
    actor: Actor,
    account_id: str,
    action: Action,
    target: str | None,
    now_ms: int,
    *,
    caller: Caller = NOWHERE,
    **details: Any,
) -> None:
    """Adds an event of an account that no principal of it caused: the server itself, or somebody
    without a credential. As ``record`` otherwise."""
    event = EventRow(
        id=new_id("evt", now_ms),
        account_id=account_id,
        occurred_at=now_ms,
        actor_kind=actor.kind,
        actor_id=actor.id,
        action=action,
        target=target,
        outcome=outcome_of(action),
        address=caller.address,
        user_agent=shown_agent(caller.user_agent),
        details=encode_details(details),
    )
    await insert_events(connection, [event])
