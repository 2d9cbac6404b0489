"""Quota leases: what a gateway may accept by itself while the backend is away.

A *holder* is a gateway with a spool; its id is kept with the spool. A *session* is one life of a
holder's memory: only the session that a lease was granted to ever spends of it. A lease is open
until its holder ends it: from then on the holder spends nothing more of it, and what it has spent
and not yet settled can only become less. Its statements may therefore be repeated and may overtake
each other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Lease:
    """``granted`` units of an account's quota, all in all, of the month that ends at ``ends_at``
    (Unix milliseconds). While it is open, ``granted`` only grows."""

    id: str
    account_id: str
    granted: int
    ends_at: int


@dataclass(frozen=True, slots=True)
class LeaseAsker:
    """Who a batch comes from, if it may be granted leases."""

    holder: str
    session: str


@dataclass(frozen=True, slots=True)
class LeaseStatement:
    """What a holder says about its leases.

    ``ended`` holds each lease that has ended and has not been settled in full, or has not been
    stated as such, with the units of it that are spooled: of an earlier session's lease that is
    not among them nothing is. ``after`` is the session that this one follows, if it is known.
    """

    holder: str
    session: str
    after: str | None
    ended: Mapping[str, int]


def lease_of(document: dict[str, Any]) -> Lease:
    """A lease from its JSON document. Raises KeyError."""
    return Lease(document["id"], document["account_id"], document["granted"], document["ends_at"])


def asker_of(document: dict[str, Any] | None) -> LeaseAsker | None:
    """An asker from its JSON document. Raises KeyError."""
    if document is None:
        return None
    return LeaseAsker(document["holder"], document["session"])


def statement_of(document: dict[str, Any]) -> LeaseStatement:
    """A statement from its JSON document. Raises KeyError, ValueError."""
    ended = {str(id): int(units) for id, units in document["ended"].items()}
    if min(ended.values(), default=0) < 0:
        raise ValueError("a negative number of units")
    return LeaseStatement(document["holder"], document["session"], document["after"], ended)
