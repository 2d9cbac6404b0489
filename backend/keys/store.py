"""Queries on API keys."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import orjson
from sqlalchemy import ColumnElement, bindparam, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.access import Reach
from backend.forms.store import within
from backend.tables import api_keys, forms

_LISTS = ("scopes", "allowed_ips", "allowed_forms")


@dataclass(frozen=True, slots=True)
class KeyRow:
    """An API key as it is stored; ``key_id`` is the public part of the key itself.

    ``scopes`` is None for all that the kind may; of the other terms, from ``environment`` to
    ``expires_at``, None is no restriction, or the plan's limit.
    """

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
    scopes: tuple[str, ...] | None = None
    environment: str | None = None
    allowed_ips: tuple[str, ...] | None = None
    allowed_forms: tuple[str, ...] | None = None
    rate_limit_per_minute: int | None = None
    burst: int | None = None
    expires_at: int | None = None
    last_used_at: int | None = None
    replaced_by: str | None = None


_columns = [api_keys.c[field.name] for field in fields(KeyRow)]
_mark_used = (
    update(api_keys)
    .where(
        api_keys.c.key_id == bindparam("used_key"),
        or_(
            api_keys.c.last_used_at.is_(None),
            api_keys.c.last_used_at < bindparam("used_at"),
        ),
    )
    .values(last_used_at=bindparam("used_at"))
)


async def find_presented(connection: AsyncConnection, key_id: str, kind: str) -> KeyRow | None:
    """The key of that public part and kind, in force or not."""
    statement = select(*_columns).where(api_keys.c.key_id == key_id, api_keys.c.kind == kind)
    return _row((await connection.execute(statement)).first())


async def find_key(connection: AsyncConnection, account_id: str, id: str) -> KeyRow | None:
    """A key of the account, in force or not."""
    statement = select(*_columns).where(_is(account_id, id))
    return _row((await connection.execute(statement)).first())


async def list_keys(
    connection: AsyncConnection, account_id: str, before: str | None, limit: int
) -> list[KeyRow]:
    """The account's keys, newest first, those older than ``before``."""
    statement = select(*_columns).where(api_keys.c.account_id == account_id)
    if before is not None:
        statement = statement.where(api_keys.c.id < before)
    found = await connection.execute(statement.order_by(api_keys.c.id.desc()).limit(limit))
    return [_key(row) for row in found]


async def insert_key(connection: AsyncConnection, key: KeyRow) -> None:
    """Adds a key."""
    await connection.execute(insert(api_keys).values(_stored(asdict(key))))


async def update_key(
    connection: AsyncConnection, account_id: str, id: str, values: Mapping[str, Any]
) -> KeyRow:
    """Changes a key of the account that exists; the row as it is then."""
    statement = update(api_keys).where(_is(account_id, id)).values(_stored(values))
    return _key((await connection.execute(statement.returning(*_columns))).one())


async def active_keys(connection: AsyncConnection, account_id: str, now_ms: int) -> list[KeyRow]:
    """The account's active keys: neither revoked, nor replaced, nor expired."""
    statement = select(*_columns).where(
        api_keys.c.account_id == account_id,
        api_keys.c.revoked_at.is_(None),
        api_keys.c.replaced_by.is_(None),
        or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > now_ms),
    )
    return [_key(row) for row in await connection.execute(statement)]


async def minted_since(
    connection: AsyncConnection, account_id: str, since_ms: int, limit: int
) -> list[int]:
    """When the account's newest keys were created, newest first: those created after ``since_ms``,
    ``limit`` at most, without the first of all, which came with the account."""
    first = select(func.min(api_keys.c.id)).where(api_keys.c.account_id == account_id)
    statement = (
        select(api_keys.c.created_at)
        .where(
            api_keys.c.account_id == account_id,
            api_keys.c.created_at > since_ms,
            api_keys.c.id != first.scalar_subquery(),
        )
        .order_by(api_keys.c.created_at.desc())
        .limit(limit)
    )
    return list((await connection.execute(statement)).scalars())


async def forms_within(
    connection: AsyncConnection, account_id: str, reach: Reach, ids: Sequence[str]
) -> set[str]:
    """Those of the ids that are forms of the account within reach."""
    statement = select(forms.c.id).where(within(account_id, reach), forms.c.id.in_(ids))
    return set((await connection.execute(statement)).scalars())


async def mark_used(connection: AsyncConnection, used: Iterable[tuple[str, int]]) -> None:
    """Notes when keys, by their public part, were used last (Unix milliseconds)."""
    # In the order in which the intake locks them, so that neither waits for the other for ever.
    rows = [{"used_key": key_id, "used_at": at_ms} for key_id, at_ms in sorted(used)]
    await connection.execute(_mark_used, rows)


def _is(account_id: str, id: str) -> ColumnElement[bool]:
    return (api_keys.c.id == id) & (api_keys.c.account_id == account_id)


def _stored(values: Mapping[str, Any]) -> dict[str, Any]:
    lists = {
        name: orjson.dumps(values[name]).decode() for name in _LISTS if values.get(name) is not None
    }
    return {**values, **lists}


def _row(row: Any) -> KeyRow | None:
    return None if row is None else _key(row)


def _key(row: Any) -> KeyRow:
    lists = {
        name: tuple(orjson.loads(text))
        for name in _LISTS
        if (text := row._mapping[name]) is not None
    }
    return KeyRow(**{**row._mapping, **lists})
