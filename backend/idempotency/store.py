"""Queries on the answers kept for idempotency keys."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, delete, or_, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.tables import api_answers

CLAIMED = 0
"""The status while a request holds its key and has committed nothing."""
COMMITTED = 1
"""The status once it has committed something, until its answer is kept."""

_table = api_answers.c


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """What a key is bound to. ``content`` is the sealed answer, or until there is one the claim's
    token; ``key`` is a digest that stands for the key, the credential and the address."""

    account_id: str
    key: str
    fingerprint: str
    status: int
    content: str
    expires_at: int


async def insert_claim(connection: AsyncConnection, row: AnswerRow) -> bool:
    """Adds a row unless there is one of its key already; whether it did."""
    is_sqlite = connection.dialect.name == "sqlite"
    insert = sqlite.insert if is_sqlite else postgresql.insert
    values = {
        "account_id": row.account_id,
        "key": row.key,
        "fingerprint": row.fingerprint,
        "status": row.status,
        "content": row.content,
        "expires_at": row.expires_at,
    }
    statement = insert(api_answers).values(values).on_conflict_do_nothing()
    return (await connection.execute(statement)).rowcount == 1


async def take_over(
    connection: AsyncConnection, row: AnswerRow, now_ms: int, abandoned_before_ms: int
) -> bool:
    """Puts ``row`` in the place of one of its key that has expired, or that committed nothing and
    expires before ``abandoned_before_ms``; whether it did."""
    is_over = or_(
        _table.expires_at <= now_ms,
        and_(_table.status == CLAIMED, _table.expires_at <= abandoned_before_ms),
    )
    statement = (
        update(api_answers)
        .where(_is(row.account_id, row.key), is_over)
        .values(
            fingerprint=row.fingerprint,
            status=row.status,
            content=row.content,
            expires_at=row.expires_at,
        )
    )
    return (await connection.execute(statement)).rowcount == 1


async def find(connection: AsyncConnection, account_id: str, key: str) -> AnswerRow | None:
    """What the key is bound to."""
    found = await connection.execute(select(api_answers).where(_is(account_id, key)))
    row = found.one_or_none()
    return None if row is None else AnswerRow(*row)


async def mark_committed(connection: AsyncConnection, claim: AnswerRow) -> bool:
    """Notes, in a transaction of the claim's request, that it commits; whether it still holds."""
    statement = update(api_answers).where(_holds(claim)).values(status=COMMITTED)
    return (await connection.execute(statement)).rowcount == 1


async def keep_answer(
    connection: AsyncConnection, claim: AnswerRow, status: int, content: str, expires_at: int
) -> None:
    """Binds the claim's key to the answer."""
    statement = update(api_answers).where(_holds(claim))
    values = {"status": status, "content": content, "expires_at": expires_at}
    await connection.execute(statement.values(values))


async def delete_claim(
    connection: AsyncConnection, claim: AnswerRow, *, even_committed: bool
) -> None:
    """Lets the key go; of a claim that committed something, only if told so."""
    statement = delete(api_answers).where(_holds(claim))
    if not even_committed:
        statement = statement.where(_table.status == CLAIMED)
    await connection.execute(statement)


async def delete_expired(connection: AsyncConnection, now_ms: int, *, limit: int) -> int:
    """Deletes what has expired, ``limit`` rows at most; how many it were."""
    expired = select(_table.account_id, _table.key).where(_table.expires_at <= now_ms).limit(limit)
    of_these = tuple_(_table.account_id, _table.key).in_(expired)
    return (await connection.execute(delete(api_answers).where(of_these))).rowcount


def _is(account_id: str, key: str) -> ColumnElement[bool]:
    return and_(_table.account_id == account_id, _table.key == key)


def _holds(claim: AnswerRow) -> ColumnElement[bool]:
    """The claim's token is still in its row."""
    return and_(
        _is(claim.account_id, claim.key),
        _table.content == claim.content,
        _table.status.in_((CLAIMED, COMMITTED)),
    )
