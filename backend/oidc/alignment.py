"""Ends what lasts no longer than a session at the provider."""

from collections.abc import Collection
from typing import Literal

from backend.audit.record import SYSTEM, record_by
from backend.db import Connection
from backend.oidc import store

Reason = Literal["signed out at the identity provider", "refused by the identity provider"]


async def end_with_provider(
    connection: Connection, session_ids: Collection[str], reason: Reason, now_ms: int
) -> int:
    """Ends those of the sessions that are in force, theirs at the provider having ended; how many
    it were.

    This is the one place where the end of a provider's session acts: whatever else a member was
    given by it ends here.
    """
    rows = await store.end_sessions(connection, session_ids, now_ms)
    for row in rows:
        await record_by(
            connection, SYSTEM, row.account_id, "session.ended", row.id, now_ms, reason=reason
        )
    return len(rows)
