"""Idempotency keys: a key of a form is bound to its first submission for 24 hours.

The unique row (form, key) is written in the transaction that stores the submission, so that of
posts through any number of gateways exactly one binds it.
"""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import delete, insert, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.tables import idempotency_keys
from contracts.submissions import Submission

BOUND_MS = 24 * 3600 * 1000

FormKey = tuple[str, str]

_form_key = tuple_(idempotency_keys.c.form_id, idempotency_keys.c.key)


@dataclass(frozen=True, slots=True)
class Bound:
    """The submission that a key is bound to."""

    submission_id: str
    fingerprint: str
    received_at: int


async def find(
    connection: AsyncConnection, keys: Collection[FormKey], now_ms: int
) -> dict[FormKey, Bound]:
    """What these keys are bound to at this time."""
    if not keys:
        return {}
    rows = await connection.execute(
        select(idempotency_keys).where(
            _form_key.in_(list(keys)), idempotency_keys.c.expires_at > now_ms
        )
    )
    return {
        (row.form_id, row.key): Bound(row.submission_id, row.fingerprint, row.received_at)
        for row in rows
    }


async def bind(
    connection: AsyncConnection, submissions: Collection[Submission], now_ms: int
) -> None:
    """Binds the keys of these submissions, which carry one and have just been stored.

    Raises:
        IntegrityError: another transaction has bound one of them meanwhile.
    """
    keyed = {(item.form_id, item.idempotency_key or ""): item for item in submissions}
    if not keyed:
        return
    await connection.execute(
        delete(idempotency_keys).where(
            _form_key.in_(list(keyed)), idempotency_keys.c.expires_at <= now_ms
        )
    )
    rows = [
        {
            "form_id": form_id,
            "key": key,
            "submission_id": item.id,
            "fingerprint": item.fingerprint or "",
            "received_at": item.received_at,
            "expires_at": now_ms + BOUND_MS,
        }
        for (form_id, key), item in keyed.items()
    ]
    await connection.execute(insert(idempotency_keys), rows)
