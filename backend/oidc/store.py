"""Queries on identities at the provider, and on what ties sessions to it."""

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

from sqlalchemy import Table, bindparam, delete, false, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.tables import oidc_identities, oidc_sessions, oidc_used, sessions, users


@dataclass(frozen=True, slots=True)
class TieRow:
    """What ties a session to the provider's session ``sid`` of its ``subject``. The
    ``refresh_token`` is sealed; the provider is asked with it at ``refresh_at``."""

    session_id: str
    issuer: str
    subject: str
    sid: str | None
    refresh_token: str | None
    refresh_at: int | None


@dataclass(frozen=True, slots=True)
class EndedRow:
    """A session that has just been ended, and whose it was."""

    id: str
    user_id: str
    account_id: str


_tie_columns = [oidc_sessions.c[field.name] for field in fields(TieRow)]
_keep_refresh_token = (
    update(oidc_sessions)
    .where(oidc_sessions.c.session_id == bindparam("of_session"))
    .values(refresh_token=bindparam("sealed"))
)


async def find_user_id(connection: AsyncConnection, issuer: str, subject: str) -> str | None:
    """The member who has an identity."""
    statement = select(oidc_identities.c.user_id).where(
        oidc_identities.c.issuer == issuer, oidc_identities.c.subject == subject
    )
    return (await connection.execute(statement)).scalar()


async def link_identity(
    connection: AsyncConnection, issuer: str, subject: str, user_id: str, now_ms: int
) -> bool:
    """Makes an identity that of a member, instead of any other that they have there. False if
    another transaction has just linked it."""
    of_member = (oidc_identities.c.user_id == user_id) & (oidc_identities.c.issuer == issuer)
    await connection.execute(delete(oidc_identities).where(of_member))
    values = {"issuer": issuer, "subject": subject, "user_id": user_id, "created_at": now_ms}
    return await _insert_new(connection, oidc_identities, values)


async def insert_tie(connection: AsyncConnection, tie: TieRow) -> None:
    """Ties a session to the provider."""
    await connection.execute(insert(oidc_sessions).values(asdict(tie)))


async def use_once(connection: AsyncConnection, digest: str, expires_at: int) -> bool:
    """Notes the use of what is good once; whether it is the first. It is forgotten once it has
    expired."""
    return await _insert_new(connection, oidc_used, {"digest": digest, "expires_at": expires_at})


async def claim_due(
    connection: AsyncConnection, now_ms: int, next_at: int, limit: int
) -> list[TieRow]:
    """Ties of sessions that neither ended nor expired for good, and are to be refreshed by now, the
    longest due first. They are due again at ``next_at``: no other backend takes them until then."""
    due = (
        select(oidc_sessions.c.session_id)
        .join(sessions, sessions.c.id == oidc_sessions.c.session_id)
        .where(
            oidc_sessions.c.refresh_at <= now_ms,
            sessions.c.ended_at.is_(None),
            sessions.c.expires_at > now_ms,
        )
        .order_by(oidc_sessions.c.refresh_at)
        .limit(limit)
    )
    statement = (
        update(oidc_sessions)
        .where(oidc_sessions.c.session_id.in_(due), oidc_sessions.c.refresh_at <= now_ms)
        .values(refresh_at=next_at)
        .returning(*_tie_columns)
    )
    return [TieRow(**row._mapping) for row in await connection.execute(statement)]


async def keep_refresh_tokens(
    connection: AsyncConnection, tokens: Iterable[tuple[str, str]]
) -> None:
    """Keeps new refresh tokens, sealed, by the ids of their sessions."""
    rows = [{"of_session": id, "sealed": sealed} for id, sealed in sorted(tokens)]
    if rows:
        await connection.execute(_keep_refresh_token, rows)


async def tied_sessions(
    connection: AsyncConnection, issuer: str, subject: str | None, sid: str | None
) -> list[str]:
    """The ids of the sessions that began with the provider's session ``sid``, or with one that it
    did not name; without a ``sid`` all of the subject."""
    statement = select(oidc_sessions.c.session_id).where(oidc_sessions.c.issuer == issuer)
    if subject is not None:
        statement = statement.where(oidc_sessions.c.subject == subject)
    if sid is not None:
        is_unnamed = oidc_sessions.c.sid.is_(None) if subject is not None else false()
        statement = statement.where(or_(oidc_sessions.c.sid == sid, is_unnamed))
    return list((await connection.execute(statement)).scalars())


async def end_sessions(
    connection: AsyncConnection, ids: Collection[str], now_ms: int
) -> list[EndedRow]:
    """Ends those of the sessions that are in force."""
    statement = (
        update(sessions)
        .where(
            sessions.c.id.in_(ids),
            sessions.c.ended_at.is_(None),
            sessions.c.expires_at > now_ms,
        )
        .values(ended_at=now_ms)
        .returning(sessions.c.id, sessions.c.user_id)
    )
    ended = {row.id: row.user_id for row in await connection.execute(statement)}
    found = await connection.execute(
        select(users.c.id, users.c.account_id).where(users.c.id.in_(set(ended.values())))
    )
    account_of = {row.id: row.account_id for row in found}
    return [EndedRow(id, user_id, account_of[user_id]) for id, user_id in ended.items()]


async def remove_past(
    connection: AsyncConnection, now_ms: int, idle_before_ms: int, limit: int
) -> int:
    """Removes ties of sessions that are over or were used last before ``idle_before_ms``, and what
    was good once and has expired, ``limit`` at most of each; the greater number of the two."""
    over = (
        select(oidc_sessions.c.session_id)
        .join(sessions, sessions.c.id == oidc_sessions.c.session_id)
        .where(
            or_(
                sessions.c.ended_at.is_not(None),
                sessions.c.expires_at <= now_ms,
                sessions.c.last_seen_at < idle_before_ms,
            )
        )
        .limit(limit)
    )
    used = select(oidc_used.c.digest).where(oidc_used.c.expires_at <= now_ms).limit(limit)
    ties = await connection.execute(
        delete(oidc_sessions).where(oidc_sessions.c.session_id.in_(over))
    )
    digests = await connection.execute(delete(oidc_used).where(oidc_used.c.digest.in_(used)))
    return max(ties.rowcount, digests.rowcount)


async def _insert_new(connection: AsyncConnection, table: Table, values: dict[str, Any]) -> bool:
    """Adds a row unless it would be there twice; whether it did."""
    is_sqlite = connection.dialect.name == "sqlite"
    insert_into = sqlite.insert if is_sqlite else postgresql.insert
    statement = insert_into(table).values(values).on_conflict_do_nothing()
    return (await connection.execute(statement)).rowcount == 1
