"""Queries on API keys."""

from dataclasses import asdict, dataclass, fields

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.tables import api_keys


@dataclass(frozen=True, slots=True)
class KeyRow:
    """An API key as it is stored; ``key_id`` is the public part of the key itself."""

    id: str
    account_id: str
    key_id: str
    kind: str
    name: str
    prefix: str
    secret_hash: str
    created_by: str | None
    created_at: int
    revoked_at: int | None
    revision: int


_columns = [api_keys.c[field.name] for field in fields(KeyRow)]


async def find_active(connection: AsyncConnection, key_id: str, kind: str) -> KeyRow | None:
    """The key of that public part, unless it is revoked or of another kind."""
    statement = select(*_columns).where(
        api_keys.c.key_id == key_id, api_keys.c.kind == kind, api_keys.c.revoked_at.is_(None)
    )
    row = (await connection.execute(statement)).first()
    return KeyRow(**row._mapping) if row else None


async def find_key(connection: AsyncConnection, account_id: str, id: str) -> KeyRow | None:
    """A key of the account, revoked or not."""
    statement = select(*_columns).where(api_keys.c.id == id, api_keys.c.account_id == account_id)
    row = (await connection.execute(statement)).first()
    return KeyRow(**row._mapping) if row else None


async def list_keys(
    connection: AsyncConnection, account_id: str, before: str | None, limit: int
) -> list[KeyRow]:
    """The account's keys, newest first, those older than ``before``."""
    statement = select(*_columns).where(api_keys.c.account_id == account_id)
    if before is not None:
        statement = statement.where(api_keys.c.id < before)
    found = await connection.execute(statement.order_by(api_keys.c.id.desc()).limit(limit))
    return [KeyRow(**row._mapping) for row in found]


async def insert_key(connection: AsyncConnection, key: KeyRow) -> None:
    """Adds a key."""
    await connection.execute(insert(api_keys).values(asdict(key)))


async def revoke_key(
    connection: AsyncConnection, account_id: str, id: str, now_ms: int, revision: int
) -> None:
    """Revokes a key; the first revocation's time stays."""
    statement = (
        update(api_keys)
        .where(
            api_keys.c.id == id,
            api_keys.c.account_id == account_id,
            api_keys.c.revoked_at.is_(None),
        )
        .values(revoked_at=now_ms, revision=revision)
    )
    await connection.execute(statement)
