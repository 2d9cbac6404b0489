"""The leases of this gateway: what it may accept by itself while the backend is away.

The book is memory only. After a restart nothing is left to spend; what is in the spool stays
covered, because the spool names the lease of each row, and the first statement says so. A lease
that has ended stays in the book until the backend has acknowledged that all of it is settled, so
that an older answer which still tells of it does not bring it back.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from contracts.internal import ChangesAnswer
from contracts.leases import Lease, LeaseAsker, LeaseStatement
from contracts.runtime.clock import Clock

# So long configuration is used without the backend, too.
_IDLE_SECONDS = 24 * 3600.0


@dataclass(slots=True)
class _Held:
    """A lease: ``spooled`` units are taken and not settled, ``spent`` ones are all ever taken."""

    id: str
    account_id: str
    granted: int
    ends_at: int
    told_at: float
    spent: int = 0
    spooled: int = 0
    is_open: bool = True
    # What was stated last since it has ended.
    stated: int | None = None

    @property
    def is_due(self) -> bool:
        """Whether a statement is to be made of it: it has ended, or since then all is settled."""
        return not self.is_open and (
            self.stated is None or (self.spooled == 0 and self.stated != 0)
        )


class LeaseBook:
    """Takes units, and knows what is to be stated. ``due`` is set while something is.

    Nothing is taken before the first statement has been acknowledged.
    """

    def __init__(
        self,
        holder: str,
        spooled: Mapping[str, int],
        clock: Clock,
        mint_session: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        """``spooled`` holds, of each lease, the rows that are in the spool at the start."""
        self._holder = holder
        self._clock = clock
        self._mint_session = mint_session
        self._session = mint_session()
        self._after: str | None = None
        self._is_acknowledged = self._is_closed = False
        self._epoch: str | None = None
        self._held: dict[str, _Held] = {}
        self._open: dict[str, _Held] = {}
        self._forgotten = 0
        self.due = asyncio.Event()
        self.due.set()
        for lease_id, units in spooled.items():
            held = _Held(lease_id, "", 0, 0, 0.0, spent=units, spooled=units, is_open=False)
            self._held[lease_id] = held

    @property
    def asker(self) -> LeaseAsker | None:
        """What a batch says to be granted leases."""
        if not self._is_acknowledged or self._is_closed:
            return None
        return LeaseAsker(self._holder, self._session)

    @property
    def page(self) -> int:
        """To be read before a batch is sent, for ``learn``."""
        return self._forgotten

    @property
    def unspent(self) -> int:
        """Units that may be taken, of all accounts."""
        return sum(held.granted - held.spent for held in self._open.values())

    @property
    def spooled(self) -> int:
        """Units that are taken and not settled."""
        return sum(held.spooled for held in self._held.values())

    def learn(self, leases: Iterable[Lease], page: int) -> None:
        """Takes over what the answer to a batch tells that was sent at that ``page``.

        Since an older one a lease may have been forgotten that the answer still takes for open.
        """
        if page != self._forgotten or not self._is_acknowledged:
            return
        for lease in leases:
            held = self._held.get(lease.id)
            if held is None:
                self._add(lease)
            elif held.is_open:
                held.granted = max(held.granted, lease.granted)
                held.told_at = self._clock.monotonic()

    def take(self, account_id: str) -> str | None:
        """Spends a unit: the id of its lease, or None if there is none.

        It is to be followed by ``settle``, or by ``put_back`` if surely nothing was spooled.
        """
        held = self._open.get(account_id)
        if held is None:
            return None
        if self._clock.now_ms() >= held.ends_at:
            self._end(held)
            return None
        if held.spent >= held.granted:
            return None
        held.spent += 1
        held.spooled += 1
        return held.id

    def put_back(self, lease_id: str | None) -> None:
        """Undoes a ``take``: nothing was spooled and nothing ever will be."""
        held = self._held.get(lease_id or "")
        if held is not None:
            held.spent -= 1
            self._settle(held)

    def settle(self, lease_id: str | None) -> None:
        """Notes that the backend has decided on a spooled submission, whatever it said.

        A unit that it did not cost is not spent again: the answer may be that to a repetition of
        what has cost it. The next statement gives it back.
        """
        held = self._held.get(lease_id or "")
        if held is not None:
            self._settle(held)
            if held.is_open and held.spooled == 0:
                self._end(held)

    def end_idle(self) -> None:
        """Ends what has not been told for a day, or whose month is over."""
        now, now_ms = self._clock.monotonic(), self._clock.now_ms()
        for held in list(self._open.values()):
            if now - held.told_at >= _IDLE_SECONDS or now_ms >= held.ends_at:
                self._end(held)

    def close(self) -> None:
        """Ends every lease, known or not, for good: the gateway stops."""
        self._is_closed = True
        self._begin_session()

    def apply(self, changes: ChangesAnswer) -> None:
        """Takes over what the feed says: recalls, and that the backend was restored."""
        for lease_id, holder in changes.recalls.items():
            if holder == self._holder:
                self._recall(lease_id)
        if self._epoch not in {None, changes.epoch}:
            self._begin_session()
        self._epoch = changes.epoch

    def statement(self) -> LeaseStatement:
        """What is to be said now. One statement is under way at a time."""
        ended = {held.id: held.spooled for held in self._held.values() if not held.is_open}
        self.due.clear()
        return LeaseStatement(self._holder, self._session, self._after, ended)

    def acknowledge(self, statement: LeaseStatement, session: str) -> None:
        """Takes over the answer to a statement: the session that the backend knows."""
        if session != statement.session:
            self._after = session
        elif session == self._session:
            self._is_acknowledged = True
            self._take_note(statement)
        if not self._is_acknowledged:
            self.due.set()

    def fail(self) -> None:
        """Notes that a statement has had no answer: it is due again."""
        self.due.set()

    def _take_note(self, statement: LeaseStatement) -> None:
        for lease_id, units in statement.ended.items():
            held = self._held[lease_id]
            held.stated = units
            if units == 0:
                del self._held[lease_id]
                self._forgotten += 1
            elif held.is_due:
                self.due.set()

    def _add(self, lease: Lease) -> None:
        earlier = self._open.get(lease.account_id)
        if earlier is not None:
            self._end(earlier)
        held = _Held(
            lease.id, lease.account_id, lease.granted, lease.ends_at, self._clock.monotonic()
        )
        self._held[lease.id] = self._open[lease.account_id] = held

    def _recall(self, lease_id: str) -> None:
        held = self._held.get(lease_id)
        if held is None:
            # The answer that told of it was lost. From now on it is too late to learn of it.
            self._held[lease_id] = _Held(lease_id, "", 0, 0, 0.0, is_open=False)
            self.due.set()
        elif held.is_open:
            self._end(held)

    def _settle(self, held: _Held) -> None:
        held.spooled -= 1
        if held.is_due:
            self.due.set()

    def _end(self, held: _Held) -> None:
        held.is_open = False
        del self._open[held.account_id]
        self.due.set()

    def _begin_session(self) -> None:
        for held in list(self._open.values()):
            self._end(held)
        self._after, self._session = self._session, self._mint_session()
        self._is_acknowledged = False
        self._forgotten += 1
        self.due.set()
