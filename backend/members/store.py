"""Queries on members, who are rows of ``users``."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any

import orjson
from sqlalchemy import delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.accounts.roles import OWNER, rights_of
from backend.tables import accounts, users


class AddressTaken(Exception):
    """Somebody has the e-mail address."""


@dataclass(frozen=True, slots=True)
class MemberRow:
    """A member, or somebody who is invited, as stored.

    ``permissions`` is None for what the role says. ``joined_at`` is None until the invitation, of
    which ``invite_hash`` is the digest, is accepted.
    """

    id: str
    account_id: str
    email: str
    role: str
    permissions: frozenset[str] | None
    created_at: int
    invited_by: str | None
    invite_hash: str | None
    invite_expires_at: int | None
    joined_at: int | None

    @property
    def rights(self) -> frozenset[str]:
        """What the member may do."""
        return rights_of(self.role, self.permissions)


_columns = [users.c[field.name] for field in fields(MemberRow)]


async def list_members(
    connection: AsyncConnection, account_id: str, before: str | None, limit: int
) -> list[MemberRow]:
    """The account's members and those invited, newest first, those older than ``before``."""
    statement = select(*_columns).where(users.c.account_id == account_id)
    if before is not None:
        statement = statement.where(users.c.id < before)
    return list(_rows(await connection.execute(statement.order_by(users.c.id.desc()).limit(limit))))


async def find_member(connection: AsyncConnection, account_id: str, id: str) -> MemberRow | None:
    """A member of the account."""
    statement = select(*_columns).where(users.c.account_id == account_id, users.c.id == id)
    return next(_rows(await connection.execute(statement)), None)


async def lock_members(connection: AsyncConnection, account_id: str) -> None:
    """Lets one transaction at a time change an account's members, until it ends. Rows that name the
    account can be added meanwhile."""
    await connection.execute(
        select(accounts.c.id).where(accounts.c.id == account_id).with_for_update(key_share=True)
    )


async def find_address(connection: AsyncConnection, email: str) -> str | None:
    """The account of whoever has an address, which is in lower case."""
    statement = select(users.c.account_id).where(func.lower(users.c.email) == email)
    return (await connection.execute(statement)).scalar()


async def is_address_free(connection: AsyncConnection, email: str, now_ms: int) -> bool:
    """Whether an address, in lower case, neither is a member's nor has an invitation in force."""
    statement = select(users.c.id).where(
        func.lower(users.c.email) == email,
        or_(users.c.joined_at.is_not(None), users.c.invite_expires_at > now_ms),
    )
    return (await connection.execute(statement)).first() is None


async def count_members(connection: AsyncConnection, account_id: str, now_ms: int) -> int:
    """How many are members, or invited and may still accept."""
    statement = select(func.count()).where(
        users.c.account_id == account_id,
        or_(users.c.joined_at.is_not(None), users.c.invite_expires_at > now_ms),
    )
    return int((await connection.execute(statement)).scalar_one())


async def count_owners(connection: AsyncConnection, account_id: str) -> int:
    """How many owners have joined."""
    statement = select(func.count()).where(
        users.c.account_id == account_id, users.c.role == OWNER, users.c.joined_at.is_not(None)
    )
    return int((await connection.execute(statement)).scalar_one())


async def insert_member(connection: AsyncConnection, member: MemberRow) -> None:
    """Adds somebody. Raises AddressTaken; the transaction is then spent."""
    try:
        await connection.execute(insert(users).values(_stored(asdict(member))))
    except IntegrityError as error:
        raise AddressTaken(member.email) from error


async def update_member(
    connection: AsyncConnection, account_id: str, id: str, values: dict[str, Any]
) -> MemberRow | None:
    """Changes a member; None if there is no such member."""
    statement = (
        update(users)
        .where(users.c.account_id == account_id, users.c.id == id)
        .values(_stored(values))
        .returning(*_columns)
    )
    return next(_rows(await connection.execute(statement)), None)


async def delete_member(connection: AsyncConnection, account_id: str, id: str) -> None:
    """Removes a member."""
    await connection.execute(
        delete(users).where(users.c.account_id == account_id, users.c.id == id)
    )


async def delete_lapsed(
    connection: AsyncConnection, account_id: str, email: str, now_ms: int
) -> MemberRow | None:
    """Removes the expired invitation of an address in an account other than this one."""
    statement = (
        delete(users)
        .where(
            func.lower(users.c.email) == email,
            users.c.account_id != account_id,
            users.c.joined_at.is_(None),
            users.c.invite_expires_at <= now_ms,
        )
        .returning(*_columns)
    )
    return next(_rows(await connection.execute(statement)), None)


async def accept_invitation(
    connection: AsyncConnection, invite_hash: str, now_ms: int
) -> MemberRow | None:
    """Makes whoever has this invitation a member, and the invitation void; None if there is no such
    invitation any more. Of two at once, one gets the member."""
    statement = (
        update(users)
        .where(
            users.c.invite_hash == invite_hash,
            users.c.joined_at.is_(None),
            users.c.invite_expires_at > now_ms,
        )
        .values(joined_at=now_ms, invite_hash=None, invite_expires_at=None)
        .returning(*_columns)
    )
    return next(_rows(await connection.execute(statement)), None)


def _stored(values: dict[str, Any]) -> dict[str, Any]:
    if values.get("permissions") is None:
        return values
    return values | {"permissions": orjson.dumps(sorted(values["permissions"])).decode()}


def _rows(found: Iterable[Any]) -> Iterator[MemberRow]:
    for row in found:
        listed = row.permissions
        permissions = None if listed is None else frozenset(orjson.loads(listed))
        yield MemberRow(**{**row._mapping, "permissions": permissions})
