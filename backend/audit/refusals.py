"""Refused credentials: gathered in memory, written to the audit log from time to time.

Whoever is refused again and again costs one row per interval, with a count. Distinct refusals are
bounded, per account, in an interval and in a day; those beyond share one row, so that nobody can
fill the disk by being refused. What was noted since the last flush is lost if the process is
killed.
"""

import asyncio
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Network

import orjson

from backend.accounts.store import first_account_id
from backend.audit.actions import Action, Actor, RefusalReason, outcome_of
from backend.audit.details import shown_agent
from backend.audit.store import EventRow, insert_events
from backend.caller import Caller
from backend.db import Database
from contracts.addresses import packed_address
from contracts.ids import new_id
from contracts.keys import DISPLAY_LENGTH
from contracts.runtime.clock import Clock, iso
from contracts.runtime.telemetry import get_logger

INTERVAL_SECONDS = 60.0
PER_INTERVAL = 50
PER_DAY = 1_000
ACTION: Action = "credential.refused"
OTHERS: RefusalReason = "others"
_DAY_MS = 24 * 3600 * 1000
_IPV6_NETWORK_BYTES = 8
_DISPLAY = re.compile(rf"ff[a-z0-9_]{{0,{DISPLAY_LENGTH - 2}}}")
_log = get_logger("backend")


@dataclass(frozen=True, slots=True)
class _Kind:
    """What is counted together. ``network`` is an IPv4 address or an IPv6 /64, as bytes."""

    network: bytes | None
    credential: str | None
    actor: Actor | None
    reason: RefusalReason


@dataclass(slots=True)
class _Seen:
    """How often, from when until when, and from where."""

    first_ms: int
    last_ms: int
    count: int
    address: str | None
    user_agent: str | None
    is_from_several: bool = False

    def add(self, other: "_Seen") -> None:
        """Adds what was seen of the same kind."""
        self.first_ms = min(self.first_ms, other.first_ms)
        self.last_ms = max(self.last_ms, other.last_ms)
        self.count += other.count
        self.user_agent = other.user_agent
        self.is_from_several |= other.is_from_several or self.address != other.address


class Refusals:
    """``note`` what is refused; ``run`` writes it down for as long as it is not cancelled, and
    ``flush_quietly`` at the end writes the rest."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._pending: defaultdict[str | None, dict[_Kind, _Seen]] = defaultdict(dict)
        self._day = 0
        self._rows_today: Counter[str | None] = Counter()

    def note(
        self,
        caller: Caller,
        account_id: str | None,
        credential: str | None,
        reason: RefusalReason,
        actor: Actor | None = None,
    ) -> None:
        """Counts a refusal, without I/O.

        ``account_id`` is that of the credential, None if nobody's: it is then told to the first
        account, which runs this server. ``credential`` is the part of a key that is displayed,
        never the whole; ``actor`` whoever shows a genuine one and still may not do this.
        """
        now_ms = self._clock.now_ms()
        kind = _Kind(_network_of(caller.address), _display(credential), actor, reason)
        seen = _Seen(now_ms, now_ms, 1, caller.address, shown_agent(caller.user_agent))
        if kind not in self._pending[account_id] and not self._has_room(account_id, now_ms):
            kind = _Kind(None, None, None, OTHERS)
            seen.address = seen.user_agent = None
        self._add(account_id, kind, seen)

    async def run(self) -> None:
        """Flushes once a minute; what goes wrong is logged and tried again."""
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            await self.flush_quietly()

    async def flush_quietly(self) -> None:
        """Flushes; what goes wrong is logged."""
        try:
            await self.flush()
        except Exception as error:
            _log.error("refused credentials were not recorded", error=str(error))

    async def flush(self) -> None:
        """Writes what was noted. What cannot be written is kept. Raises Rejected(UNAVAILABLE)."""
        if not self._pending:
            return
        pending, self._pending = self._pending, defaultdict(dict)
        try:
            async with self._database.write() as connection:
                operator_id = await first_account_id(connection)
                if operator_id is not None:
                    await insert_events(connection, _events(pending, operator_id))
        except BaseException:
            self._restore(pending)
            raise
        if operator_id is None:
            # Before the first start there is nobody to tell them to.
            self._restore(pending)

    def _restore(self, pending: Mapping[str | None, Mapping[_Kind, _Seen]]) -> None:
        for account_id, kinds in pending.items():
            for kind, seen in kinds.items():
                self._add(account_id, kind, seen)

    def _add(self, account_id: str | None, kind: _Kind, seen: _Seen) -> None:
        known = self._pending[account_id].setdefault(kind, seen)
        if known is not seen:
            known.add(seen)

    def _has_room(self, account_id: str | None, now_ms: int) -> bool:
        """Whether the account may have one more row of its own; if so, it is taken."""
        day = now_ms // _DAY_MS
        if day > self._day:
            self._day = day
            self._rows_today.clear()
        if len(self._pending[account_id]) >= PER_INTERVAL:
            return False
        if self._rows_today[account_id] >= PER_DAY:
            return False
        self._rows_today[account_id] += 1
        return True


def _events(
    pending: Mapping[str | None, Mapping[_Kind, _Seen]], operator_id: str
) -> Iterator[EventRow]:
    for account_id, kinds in pending.items():
        for kind, seen in kinds.items():
            yield _event(account_id or operator_id, kind, seen)


def _event(account_id: str, kind: _Kind, seen: _Seen) -> EventRow:
    details: dict[str, str] = {"reason": kind.reason}
    if seen.count > 1:
        details["first_at"] = iso(seen.first_ms)
    return EventRow(
        id=new_id("evt", seen.last_ms),
        account_id=account_id,
        occurred_at=seen.last_ms,
        actor_kind=kind.actor.kind if kind.actor else "anonymous",
        actor_id=kind.actor.id if kind.actor else None,
        action=ACTION,
        target=kind.credential,
        outcome=outcome_of(ACTION),
        address=_text_of(kind.network) if seen.is_from_several else seen.address,
        user_agent=seen.user_agent,
        details=orjson.dumps(details).decode(),
        count=seen.count,
    )


def _display(credential: str | None) -> str | None:
    """What may be shown of a credential: the beginning of something like a key of ours. Anything
    else may be a password that was sent by mistake."""
    if credential is None:
        return None
    match = _DISPLAY.match(credential)
    return match and match.group()


def _network_of(address: str | None) -> bytes | None:
    packed = packed_address(address or "")
    return packed and packed[:_IPV6_NETWORK_BYTES]


def _text_of(network: bytes | None) -> str | None:
    """Several addresses of one network, as the network. Those of none may differ in text only."""
    if network is None:
        return None
    if len(network) < _IPV6_NETWORK_BYTES:
        return str(IPv4Address(network))
    return str(IPv6Network((network + bytes(_IPV6_NETWORK_BYTES), 64)))
