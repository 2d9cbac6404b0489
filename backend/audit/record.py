"""Recording what was done, in the transaction that does it: neither is without the other."""

from typing import Any

import orjson

from backend.access import Principal
from backend.audit.store import EventRow, insert_event
from backend.db import Connection
from contracts.ids import new_id

SUCCEEDED = "succeeded"
_USER_AGENT_MAX = 256


async def record(
    connection: Connection,
    principal: Principal,
    action: str,
    target: str | None,
    now_ms: int,
    **details: Any,
) -> None:
    """Adds the event that ``principal`` did ``action``, such as ``form.created``, on the object of
    the id ``target``. ``details`` are names and plain values, never a secret."""
    caller = principal.caller
    event = EventRow(
        id=new_id("evt", now_ms),
        account_id=principal.account_id,
        occurred_at=now_ms,
        actor_kind="key" if principal.key_id else "operator",
        actor_id=principal.key_id,
        action=action,
        target=target,
        outcome=SUCCEEDED,
        address=caller.address,
        user_agent=caller.user_agent and caller.user_agent[:_USER_AGENT_MAX],
        details=orjson.dumps(details).decode() if details else None,
    )
    await insert_event(connection, event)
