"""Idempotency keys: a key of a form is bound to its first submission for 24 hours.

The unique row (form, key) is written in the transaction that stores the submission, so that of
posts through any number of gateways exactly one binds it.
"""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import bindparam, delete, insert, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.tables import idempotency_keys
from backend.transaction import Transaction, among, encode_texts
from contracts.idempotency import BOUND_MS
from contracts.submissions import Submission

FormKey = tuple[str, str]

# Of every such form and every such key: a few more than the pairs that are asked for.
_of_these = among(idempotency_keys.c.form_id, "form_ids") & among(idempotency_keys.c.key, "keys")
_bound = select(idempotency_keys).where(
    _of_these, idempotency_keys.c.expires_at > bindparam("now_ms")
)
_expired = delete(idempotency_keys).where(
    _of_these, idempotency_keys.c.expires_at <= bindparam("now_ms")
)
_insert = insert(idempotency_keys)
_form_key = tuple_(idempotency_keys.c.form_id, idempotency_keys.c.key)


@dataclass(frozen=True, slots=True)
class Bound:
    """The submission that a key is bound to."""

    submission_id: str
    fingerprint: str
    received_at: int


def find(transaction: Transaction, keys: Collection[FormKey], now_ms: int) -> dict[FormKey, Bound]:
    """What these keys are bound to at this time."""
    if not keys:
        return {}
    found = {
        (row.form_id, row.key): Bound(row.submission_id, row.fingerprint, row.received_at)
        for row in transaction.rows(_bound, _parameters(keys, now_ms))
    }
    return {key: found[key] for key in keys if key in found}


def bind(transaction: Transaction, submissions: Collection[Submission], now_ms: int) -> None:
    """Binds the keys of these submissions, which carry one and have just been stored.

    Raises:
        Conflict: another transaction has bound one of them meanwhile.
    """
    keyed = {(item.form_id, item.idempotency_key or ""): item for item in submissions}
    if not keyed:
        return
    transaction.run(_expired, [_parameters(keyed, now_ms)])
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
    transaction.run(_insert, rows)


def _parameters(keys: Collection[FormKey], now_ms: int) -> dict[str, str | int]:
    return {
        "form_ids": encode_texts({form_id for form_id, _ in keys}),
        "keys": encode_texts([key for _, key in keys]),
        "now_ms": now_ms,
    }


async def delete_expired(connection: AsyncConnection, now_ms: int, *, limit: int) -> int:
    """Deletes keys that have expired, ``limit`` at most; how many it were."""
    expired = (
        select(idempotency_keys.c.form_id, idempotency_keys.c.key)
        .where(idempotency_keys.c.expires_at < now_ms)
        .limit(limit)
    )
    deleted = await connection.execute(delete(idempotency_keys).where(_form_key.in_(expired)))
    return deleted.rowcount
