"""Queries on sessions and on the links that begin them."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Select, bindparam, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.accounts.roles import rights_of
from backend.tables import accounts, sessions, sign_in_links, users


@dataclass(frozen=True, slots=True)
class UserRow:
    """A member who may sign in; ``permissions`` is None for what the role says."""

    id: str
    account_id: str
    account_name: str
    email: str
    role: str
    permissions: frozenset[str] | None

    @property
    def rights(self) -> frozenset[str]:
        """What the member may do."""
        return rights_of(self.role, self.permissions)


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session as it is stored, but for its token. ``address`` and ``user_agent`` are those of the
    request that began it; ``expires_at`` is its end, however it is used."""

    id: str
    user_id: str
    created_at: int
    last_seen_at: int
    expires_at: int
    address: str | None
    user_agent: str | None
    ended_at: int | None = None


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A session, in force or not, and whose it is."""

    session: SessionRow
    user: UserRow


@dataclass(frozen=True, slots=True)
class LinkRow:
    """A link that signs a member in, the one of ``user_id``, or whoever has the address ``email``
    up. ``address`` is that of whoever asked for it."""

    token_hash: str
    created_at: int
    expires_at: int
    address: str | None
    user_id: str | None = None
    email: str | None = None
    used_at: int | None = None


_user_columns = [
    users.c.id.label("the_user_id"),
    users.c.account_id,
    accounts.c.name.label("account_name"),
    users.c.email,
    users.c.role,
    users.c.permissions,
]
_session_columns = [sessions.c[field.name] for field in fields(SessionRow)]
_link_columns = [sign_in_links.c[field.name] for field in fields(LinkRow)]
_mark_seen = (
    update(sessions)
    .where(sessions.c.id == bindparam("seen_session"), sessions.c.last_seen_at < bindparam("at_ms"))
    .values(last_seen_at=bindparam("at_ms"))
)


async def insert_session(connection: AsyncConnection, session: SessionRow, token_hash: str) -> None:
    """Adds a session."""
    await connection.execute(insert(sessions).values(**asdict(session), token_hash=token_hash))


async def find_presented(connection: AsyncConnection, token_hash: str) -> SignedIn | None:
    """The session of that token, in force or not; None if there is none, or its user is gone."""
    return await _signed_in(connection, sessions.c.token_hash == token_hash)


async def find_session(connection: AsyncConnection, id: str) -> SignedIn | None:
    """A session, in force or not."""
    return await _signed_in(connection, sessions.c.id == id)


async def list_sessions(
    connection: AsyncConnection, user_id: str, now_ms: int, before: str | None, limit: int
) -> list[SessionRow]:
    """The user's sessions that neither were ended nor have lasted for as long as one may, newest
    first, those older than ``before``."""
    statement = select(*_session_columns).where(_is_open(user_id, now_ms))
    if before is not None:
        statement = statement.where(sessions.c.id < before)
    found = await connection.execute(statement.order_by(sessions.c.id.desc()).limit(limit))
    return [SessionRow(**row._mapping) for row in found]


async def end_sessions(
    connection: AsyncConnection, user_id: str, now_ms: int, id: str | None = None
) -> int:
    """Ends a session of the user, or all; how many it were."""
    statement = update(sessions).where(_is_open(user_id, now_ms)).values(ended_at=now_ms)
    if id is not None:
        statement = statement.where(sessions.c.id == id)
    return (await connection.execute(statement)).rowcount


async def mark_seen(connection: AsyncConnection, seen: Iterable[tuple[str, int]]) -> None:
    """Notes when sessions were used last (Unix milliseconds)."""
    # In one order, so that two backends do not wait for each other for ever.
    rows = [{"seen_session": id, "at_ms": at_ms} for id, at_ms in sorted(seen)]
    await connection.execute(_mark_seen, rows)


async def insert_link(connection: AsyncConnection, link: LinkRow) -> None:
    """Adds a link."""
    await connection.execute(insert(sign_in_links).values(asdict(link)))


async def use_link(connection: AsyncConnection, token_hash: str, now_ms: int) -> LinkRow | None:
    """The link of that token, which is used from now on; None if there is none that is good. Of two
    at once, one gets it."""
    statement = (
        update(sign_in_links)
        .where(
            sign_in_links.c.token_hash == token_hash,
            sign_in_links.c.used_at.is_(None),
            sign_in_links.c.expires_at > now_ms,
        )
        .values(used_at=now_ms)
        .returning(*_link_columns)
    )
    row = (await connection.execute(statement)).first()
    return LinkRow(**row._mapping) if row else None


async def find_link(connection: AsyncConnection, token_hash: str) -> LinkRow | None:
    """The link of that token, good or not."""
    statement = select(*_link_columns).where(sign_in_links.c.token_hash == token_hash)
    row = (await connection.execute(statement)).first()
    return LinkRow(**row._mapping) if row else None


async def find_user(connection: AsyncConnection, id: str) -> UserRow | None:
    """A member who has joined."""
    return await _user(connection, users.c.id == id)


async def find_user_of(connection: AsyncConnection, email: str) -> UserRow | None:
    """The member, who has joined, of an address in lower case."""
    return await _user(connection, func.lower(users.c.email) == email)


async def remove_past(connection: AsyncConnection, now_ms: int, limit: int) -> int:
    """Removes links and sessions that have expired for good, ``limit`` at most of each; the greater
    number of the two."""
    counts = []
    for table, key in ((sessions, sessions.c.id), (sign_in_links, sign_in_links.c.token_hash)):
        past = select(key).where(table.c.expires_at <= now_ms).limit(limit)
        counts.append((await connection.execute(delete(table).where(key.in_(past)))).rowcount)
    return max(counts)


def _is_open(user_id: str, now_ms: int) -> ColumnElement[bool]:
    return (
        (sessions.c.user_id == user_id)
        & sessions.c.ended_at.is_(None)
        & (sessions.c.expires_at > now_ms)
    )


async def _signed_in(
    connection: AsyncConnection, condition: ColumnElement[bool]
) -> SignedIn | None:
    joined = sessions.join(users, users.c.id == sessions.c.user_id).join(
        accounts, accounts.c.id == users.c.account_id
    )
    statement = select(*_session_columns, *_user_columns).select_from(joined).where(condition)
    row = (await connection.execute(statement)).first()
    if row is None:
        return None
    values = {field.name: row._mapping[field.name] for field in fields(SessionRow)}
    return SignedIn(SessionRow(**values), _user_of(row))


async def _user(connection: AsyncConnection, condition: ColumnElement[bool]) -> UserRow | None:
    joined = users.join(accounts, accounts.c.id == users.c.account_id)
    statement: Select[Any] = select(*_user_columns).select_from(joined)
    statement = statement.where(condition, users.c.joined_at.is_not(None))
    row = (await connection.execute(statement)).first()
    return _user_of(row) if row else None


def _user_of(row: Any) -> UserRow:
    listed = row.permissions
    return UserRow(
        id=row.the_user_id,
        account_id=row.account_id,
        account_name=row.account_name,
        email=row.email,
        role=row.role,
        permissions=None if listed is None else frozenset(orjson.loads(listed)),
    )
