"""Carries out deliveries: makes them of the outbox, claims what is due, hands it to its sender.

Guarantees: what the outbox holds is attempted at least once, under one id; what a crash interrupts
is attempted again when its claim ends; several backends share the work. A claim lasts longer than
any attempt, so that two of one delivery overlap only after a process has been stopped for long.
"""

import asyncio
import secrets
import time
from collections.abc import Mapping
from functools import partial

from backend.db import Database
from backend.delivery import store
from backend.delivery.attempts import Attempt, Kind, Sender, Verdict
from backend.delivery.doorbell import Doorbell
from backend.delivery.expander import Expander
from backend.delivery.expansion import ROWS
from backend.delivery.recorder import DeliveryCounts, Ended, Recorder
from backend.delivery.store import Claimed
from backend.delivery.targets import Targets
from backend.rest import Rest
from contracts.problems import Rejected
from contracts.runtime.clock import Clock
from contracts.runtime.telemetry import get_logger

CLAIM_MS = 60_000
# No sender takes longer: it bounds itself, and this stands behind it.
_ATTEMPT_SECONDS_MAX = 45.0
_STOP_SECONDS = 3.0
_POLL_SECONDS = 1.0
_PAUSE_SECONDS = 1.0
# One step looks at so many targets, so that it does not keep the writer for long.
_TARGETS_AT_ONCE = 100
# While the intake is busy a step does little: what a burst leaves goes out behind it.
_BUSY_TARGETS_AT_ONCE = 2
_BUSY_ROWS = 1
_BUSY_REST_SECONDS = 0.1
# A verdict that says nothing against the target.
_GOOD = (Verdict.DELIVERED, Verdict.REFUSED, Verdict.OBSOLETE)
_log = get_logger("backend")


class Dispatcher:
    """``run`` works for as long as it is not cancelled; ``finish`` follows then."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        senders: Mapping[Kind, Sender],
        recorder: Recorder,
        doorbell: Doorbell,
        targets: Targets,
        rest: Rest,
        counts: DeliveryCounts,
    ) -> None:
        self._database = database
        self._clock = clock
        self._senders = senders
        self._recorder = recorder
        self._doorbell = doorbell
        self._targets = targets
        self._rest = rest
        self._counts = counts
        self._expander = Expander(database, clock)
        self._under_way: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Delivers; what goes wrong here is logged and tried again."""
        while True:
            self._doorbell.silence()
            started = time.monotonic()
            try:
                wait_seconds = await self.step()
            except Exception as error:
                _log.error("delivering failed", error=str(error))
                wait_seconds = _PAUSE_SECONDS
            rest = self._rest.seconds(time.monotonic() - started)
            await asyncio.sleep(max(rest, _BUSY_REST_SECONDS) if self._rest.is_busy else rest)
            if wait_seconds > 0:
                await self._doorbell.wait(wait_seconds)

    async def resume(self) -> None:
        """Takes up at once what a crash of this process's forerunner interrupted, and once more
        what could not be expanded. On PostgreSQL other backends may be at it: there the claims end
        by themselves. Raises Rejected(UNAVAILABLE)."""
        await self._expander.readmit()
        if self._database.is_sqlite:
            async with self._database.write() as connection:
                await store.release_claims(connection, self._clock.now_ms())

    async def finish(self) -> None:
        """Gives attempts under way a moment to end; those that do not are made again later."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=_STOP_SECONDS)
        for task in self._under_way:
            task.cancel()
        if self._under_way:
            await asyncio.wait(self._under_way)
        try:
            await self._recorder.flush()
        except Exception as error:
            _log.error("deliveries were not recorded", error=str(error))

    async def step(self) -> float:
        """Expands, claims and starts what it can; how many seconds until there may be more to do
        that nobody rings for. Raises Rejected(UNAVAILABLE)."""
        is_busy = self._rest.is_busy
        has_more = await self._expander.expand(_BUSY_ROWS if is_busy else ROWS)
        pending = await self._database.look(store.pending_targets)
        now_ms = self._clock.now_ms()
        due = sorted((item for item in pending if item.first_at <= now_ms), key=_first_at)
        room = self._targets.rooms(item.target for item in due)
        most = _BUSY_TARGETS_AT_ONCE if is_busy else _TARGETS_AT_ONCE
        chosen = dict(list(room.items())[:most])
        if due:
            self._counts.lag_seconds = (now_ms - due[0].first_at) / 1000
        claimed = await self._claim(chosen, now_ms) if chosen else []
        for item in claimed:
            self._start(*item)
        if has_more or len(chosen) < len(room):
            return 0.0
        waits = [(item.first_at - now_ms) / 1000 for item in pending if item.first_at > now_ms]
        rests = [
            rest for item in due if (rest := self._targets.seconds_until_rested(item.target)) > 0
        ]
        return max(0.001, min([_POLL_SECONDS, *waits, *rests]))

    async def _claim(self, room: Mapping[str, int], now_ms: int) -> list[tuple[Claimed, str]]:
        claim = secrets.token_hex(8)
        claimed = await self._database.transact(
            partial(
                store.claim,
                room=room,
                claimed_by=claim,
                now_ms=now_ms,
                until_ms=now_ms + CLAIM_MS,
            )
        )
        return [(item, claim) for item in claimed]

    def _start(self, item: Claimed, claim: str) -> None:
        was_proven = self._targets.start(item.target)
        task = asyncio.create_task(self._attempt(item, claim, was_proven))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _attempt(self, item: Claimed, claim: str, was_proven: bool) -> None:
        delivery, started_ms, started = item.delivery, self._clock.now_ms(), time.monotonic()
        # What a cancelled attempt comes to: it is made again.
        attempt = Attempt(Verdict.AWAY, error="The server was stopped meanwhile.")
        try:
            attempt = await self._send(item, started_ms)
        finally:
            seconds = time.monotonic() - started
            is_good = attempt.verdict in _GOOD or _blames_nobody(delivery.kind, attempt.verdict)
            self._targets.end(item.target, was_proven, is_good=is_good, seconds=seconds)
            self._counts.attempts[delivery.kind.value, attempt.verdict.value] += 1
            self._recorder.add(Ended(delivery, attempt, claim, started_ms, round(seconds * 1000)))
            self._doorbell.ring()

    async def _send(self, item: Claimed, now_ms: int) -> Attempt:
        delivery = item.delivery
        try:
            async with asyncio.timeout(_ATTEMPT_SECONDS_MAX):
                return await self._senders[delivery.kind].send(delivery, now_ms)
        except TimeoutError:
            return Attempt(Verdict.FAILED, error="It took too long.")
        except Rejected as rejected:
            return Attempt(Verdict.AWAY, error=rejected.detail)
        except Exception:
            _log.exception("a delivery failed unexpectedly", delivery_id=delivery.id)
            return Attempt(Verdict.FAILED, error="Something went wrong in this server.")


def _blames_nobody(kind: Kind, verdict: Verdict) -> bool:
    """Whether a failure is not the target's: the relay of all mails is well if it refuses one."""
    return kind is Kind.MAIL and verdict is Verdict.FAILED


def _first_at(item: store.DueTarget) -> int:
    return item.first_at
