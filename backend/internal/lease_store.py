"""Queries on leases and their holders, inside a transaction.

A lease changes only in transactions that hold the row of its month (``backend.usage.store``).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import bindparam, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.tables import lease_holders, leases
from backend.transaction import Transaction, among, encode_texts
from backend.usage.store import MonthCounts, add_to_month
from contracts.leases import LeaseAsker

AccountMonth = tuple[str, str]


class LeaseRow(Protocol):
    """A row of ``leases``."""

    id: str
    account_id: str
    month: str
    granted: int
    settled: int
    ended_at: int | None
    recalled_at: int | None


@dataclass(frozen=True, slots=True)
class Holding:
    """Units of quota that a gateway holds, and when it was last heard of (Unix milliseconds)."""

    holder: str
    seen_at: int
    units: int


_is_open = leases.c.ended_at.is_(None)
_has_units = leases.c.granted > leases.c.settled
_by_id = select(leases).where(among(leases.c.id, "ids"))
_open_of_session = select(leases).where(
    leases.c.holder == bindparam("holder"),
    leases.c.session == bindparam("session"),
    leases.c.month == bindparam("of"),
    among(leases.c.account_id, "accounts"),
    _is_open,
)
# What a statement of this session is about: the leases it names, and all of earlier sessions.
_stated = select(leases).where(
    leases.c.holder == bindparam("holder"),
    or_(leases.c.session != bindparam("session"), among(leases.c.id, "ids")),
    or_(_is_open, _has_units),
)
_of_holder = select(leases).where(leases.c.holder == bindparam("holder"), or_(_is_open, _has_units))
_outstanding = select(leases).where(
    leases.c.account_id == bindparam("account"),
    leases.c.month == bindparam("of"),
    _is_open,
    _has_units,
)
_recalled = select(leases.c.id, leases.c.holder).where(
    leases.c.revision > bindparam("since"), _is_open
)
_insert = insert(leases)
_set_units = (
    update(leases)
    .where(leases.c.id == bindparam("lease"))
    .values(granted=bindparam("units_granted"), settled=bindparam("units_settled"))
)
_set_ended = (
    update(leases)
    .where(leases.c.id == bindparam("lease"))
    .values(
        granted=bindparam("units_granted"),
        ended_at=func.coalesce(leases.c.ended_at, bindparam("now_ms")),
    )
)
_set_recalled = (
    update(leases)
    .where(leases.c.id == bindparam("lease"))
    .values(recalled_at=bindparam("now_ms"), revision=bindparam("at_revision"))
)
_session = select(lease_holders.c.session).where(lease_holders.c.holder == bindparam("holder"))
_insert_holder = insert(lease_holders)
_set_session = (
    update(lease_holders)
    .where(
        lease_holders.c.holder == bindparam("of_holder"),
        lease_holders.c.session == bindparam("from_session"),
    )
    .values(session=bindparam("to_session"), seen_at=bindparam("now_ms"))
    .returning(lease_holders.c.session)
)
_count = select(func.count(lease_holders.c.holder).label("holders")).where(
    lease_holders.c.seen_at > bindparam("since_ms")
)


def hold_months(
    transaction: Transaction, months: Collection[AccountMonth]
) -> dict[AccountMonth, MonthCounts]:
    """Their counts; from now on the rows, and the leases on them, are this transaction's.

    In one order everywhere, so that two transactions cannot wait for each other.
    """
    return {key: add_to_month(transaction, *key, 0) for key in sorted(months)}


def find(transaction: Transaction, ids: Collection[str]) -> Sequence[LeaseRow]:
    """The leases of these ids."""
    return transaction.rows(_by_id, {"ids": encode_texts(ids)})


def open_of_session(
    transaction: Transaction, asker: LeaseAsker, account_ids: Collection[str], month: str
) -> dict[str, LeaseRow]:
    """The open leases of a session, by account."""
    parameters = {
        "holder": asker.holder,
        "session": asker.session,
        "of": month,
        "accounts": encode_texts(account_ids),
    }
    return {row.account_id: row for row in transaction.rows(_open_of_session, parameters)}


def stated(
    transaction: Transaction, holder: str, session: str, ids: Collection[str]
) -> Sequence[LeaseRow]:
    """The holder's leases of these ids or of another session that have not come to their end."""
    parameters = {"holder": holder, "session": session, "ids": encode_texts(ids)}
    return transaction.rows(_stated, parameters)


def of_holder(transaction: Transaction, holder: str) -> Sequence[LeaseRow]:
    """The holder's leases that have not come to their end."""
    return transaction.rows(_of_holder, {"holder": holder})


def outstanding(transaction: Transaction, months: Collection[AccountMonth]) -> list[LeaseRow]:
    """The open leases on these months that have units left."""
    return [
        row
        for account_id, month in sorted(months)
        for row in transaction.rows(_outstanding, {"account": account_id, "of": month})
    ]


def recalled_since(transaction: Transaction, revision: int) -> dict[str, str]:
    """The open leases that were recalled after that revision, each with its holder."""
    return {row.id: row.holder for row in transaction.rows(_recalled, {"since": revision})}


def add(transaction: Transaction, lease: dict[str, Any]) -> None:
    """Grants a lease."""
    new = {"settled": 0, "ended_at": None, "recalled_at": None, "revision": None}
    transaction.run(_insert, [lease | new])


def set_units(transaction: Transaction, id: str, granted: int, settled: int) -> None:
    """What of a lease has been granted and settled."""
    values = {"lease": id, "units_granted": granted, "units_settled": settled}
    transaction.run(_set_units, [values])


def end(transaction: Transaction, id: str, granted: int, now_ms: int) -> None:
    """Ends a lease with what remains of its grant."""
    transaction.run(_set_ended, [{"lease": id, "units_granted": granted, "now_ms": now_ms}])


def mark_recalled(
    transaction: Transaction, ids: Collection[str], now_ms: int, revision: int
) -> None:
    """Puts leases into the feed, to be ended by their holders."""
    values = {"now_ms": now_ms, "at_revision": revision}
    transaction.run(_set_recalled, [{"lease": id} | values for id in ids])


def session_of(transaction: Transaction, holder: str) -> str | None:
    """The holder's session, None for a new holder."""
    rows = transaction.rows(_session, {"holder": holder})
    return str(rows[0].session) if rows else None


def add_holder(transaction: Transaction, asker: LeaseAsker, now_ms: int) -> None:
    """Begins the first session of a holder. Raises Conflict: it has one."""
    row = {"holder": asker.holder, "session": asker.session, "seen_at": now_ms}
    transaction.run(_insert_holder, [row])


def change_session(
    transaction: Transaction, holder: str, before: str, session: str, now_ms: int
) -> bool:
    """Goes from one session to another, or notes that the holder was seen if they are the same;
    False if the holder is in another session than ``before``.

    From then on the holder's row is this transaction's.
    """
    values = {
        "of_holder": holder,
        "from_session": before,
        "to_session": session,
        "now_ms": now_ms,
    }
    return bool(transaction.rows(_set_session, values))


def count_holders(transaction: Transaction, since_ms: int) -> int:
    """How many holders have been seen since."""
    [row] = transaction.rows(_count, {"since_ms": since_ms})
    return int(row.holders)


async def holdings(connection: AsyncConnection) -> list[Holding]:
    """The gateways that hold units, longest unseen first."""
    units = func.sum(leases.c.granted - leases.c.settled)
    statement = (
        select(leases.c.holder, func.coalesce(func.max(lease_holders.c.seen_at), 0), units)
        .outerjoin(lease_holders, lease_holders.c.holder == leases.c.holder)
        .where(or_(_is_open, _has_units))
        .group_by(leases.c.holder)
        .having(units > 0)
        .order_by(func.coalesce(func.max(lease_holders.c.seen_at), 0), leases.c.holder)
    )
    rows = await connection.execute(statement)
    return [Holding(holder, seen_at, int(units)) for holder, seen_at, units in rows]


async def delete_past(connection: AsyncConnection, before_ms: int, *, limit: int) -> int:
    """Deletes leases that came to their end before that time, ``limit`` at most; how many."""
    past = (
        select(leases.c.id)
        .where(leases.c.ended_at < before_ms, leases.c.granted == leases.c.settled)
        .limit(limit)
    )
    return (await connection.execute(delete(leases).where(leases.c.id.in_(past)))).rowcount
