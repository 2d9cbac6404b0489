"""Queries on environments."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields

from sqlalchemy import delete, exists, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.tables import api_keys, environments, forms
from contracts.ids import new_id

BUILT_IN = ("production", "development", "staging")
"""Every account has these."""


@dataclass(frozen=True, slots=True)
class EnvironmentRow:
    """An environment as it is stored."""

    id: str
    name: str
    created_at: int


_columns = [environments.c[field.name] for field in fields(EnvironmentRow)]


async def insert_environments(
    connection: AsyncConnection, account_id: str, names: Iterable[str], now_ms: int
) -> list[EnvironmentRow]:
    """Adds environments to an account that has none of these names."""
    rows = [EnvironmentRow(new_id("env", now_ms), name, now_ms) for name in names]
    await connection.execute(
        insert(environments), [{"account_id": account_id} | asdict(row) for row in rows]
    )
    return rows


async def list_environments(
    connection: AsyncConnection,
    account_id: str,
    name: str | None,
    before: str | None = None,
    limit: int | None = None,
) -> list[EnvironmentRow]:
    """The account's environments, newest first, those older than ``before``; only the one of
    ``name`` if that is given."""
    statement = select(*_columns).where(environments.c.account_id == account_id)
    if name is not None:
        statement = statement.where(environments.c.name == name)
    if before is not None:
        statement = statement.where(environments.c.id < before)
    statement = statement.order_by(environments.c.id.desc()).limit(limit)
    return [EnvironmentRow(**row._mapping) for row in await connection.execute(statement)]


async def find_environment(
    connection: AsyncConnection, account_id: str, id: str
) -> EnvironmentRow | None:
    """An environment of the account."""
    statement = select(*_columns).where(
        environments.c.account_id == account_id, environments.c.id == id
    )
    row = (await connection.execute(statement)).first()
    return EnvironmentRow(**row._mapping) if row else None


async def environment_names(connection: AsyncConnection, account_id: str) -> set[str]:
    """The names that the account has."""
    statement = select(environments.c.name).where(environments.c.account_id == account_id)
    return set((await connection.execute(statement)).scalars())


async def is_environment_used(
    connection: AsyncConnection, account_id: str, name: str, now_ms: int
) -> bool:
    """Whether a form that is not deleted, or a key in force, belongs to it."""
    has_form = exists().where(
        forms.c.account_id == account_id, forms.c.environment == name, forms.c.deleted_at.is_(None)
    )
    has_key = exists().where(
        api_keys.c.account_id == account_id,
        api_keys.c.environment == name,
        api_keys.c.revoked_at.is_(None),
        or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > now_ms),
    )
    return bool((await connection.execute(select(or_(has_form, has_key)))).scalar_one())


async def delete_environment(connection: AsyncConnection, account_id: str, id: str) -> None:
    """Removes an environment of the account."""
    await connection.execute(
        delete(environments).where(environments.c.account_id == account_id, environments.c.id == id)
    )
