"""How a session begins: with a fresh token, shown once."""

from dataclasses import dataclass
from typing import Any

from backend.audit.actions import Actor
from backend.audit.details import shown_agent
from backend.audit.record import record_by
from backend.caller import Caller
from backend.db import Connection
from backend.sessions import store
from backend.sessions.store import SessionRow, UserRow
from backend.tokens import digest_of, mint_token
from contracts.ids import new_id

TOKEN_PREFIX = "ff_ses_"  # noqa: S105 -- what every token begins with
LIFE_MS = 7 * 24 * 60 * 60 * 1000


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session that has just begun, whose it is, and its token, which is not kept."""

    session: SessionRow
    user: UserRow
    token: str


async def begin_session(
    connection: Connection, user: UserRow, caller: Caller, now_ms: int, **details: Any
) -> NewSession:
    """Signs a member in; the audit log is told the ``details``."""
    token = mint_token(TOKEN_PREFIX)
    session = SessionRow(
        id=new_id("ses", now_ms),
        user_id=user.id,
        created_at=now_ms,
        last_seen_at=now_ms,
        expires_at=now_ms + LIFE_MS,
        address=caller.address,
        user_agent=shown_agent(caller.user_agent),
    )
    await store.insert_session(connection, session, digest_of(token))
    actor = Actor("user", user.id)
    await record_by(
        connection, actor, user.account_id, "session.started", session.id, now_ms,
        caller=caller, **details,
    )  # fmt: skip
    return NewSession(session, user, token)
