"""Whether a presented key is genuine and in force.

Guarantees: bcrypt never runs on the event loop, never for a text with a wrong checksum, for a key
id that does not exist or a key that has ended, and only so often at once; a client that presents
wrong secrets is soon refused before bcrypt, and keys known to be genuine never wait for it; a
revoked key is refused at the next request, whichever process revoked it, because its row is read
every time; what is remembered of a key is a digest under a key of this process's own.

Who presents an unknown, a revoked and an expired key cannot tell which it is: the same work, the
same answer. A wrong secret for a key in force takes longer, by the time of bcrypt. That tells only
that the id is in use: 48 bits that are public, beside a secret of 256.
"""

import asyncio
import hashlib
import hmac
import os
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import bcrypt
from anyio import CapacityLimiter, to_thread

from backend.audit.actions import RefusalReason
from backend.audit.refusals import Refusals
from backend.caller import Caller
from backend.db import Database
from backend.keys.attempts import Attempts
from backend.keys.store import KeyRow, find_presented
from contracts.keys import ApiKey, parse_key
from contracts.problems import Problem, Rejected
from contracts.runtime.clock import Clock

HASH_COST = 12
WAITING_MAX = 64
REMEMBERED_MAX = 10_000
REFUSED_SECONDS = 5.0
WRONG_SECRETS_MAX = 20
"""Comparisons that a client may have in a minute, without those that prove a key genuine."""
_MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why a key was refused, whose it is, and until when (monotonic) that is remembered."""

    reason: RefusalReason
    account_id: str | None
    until: float


class SecretHasher:
    """bcrypt in worker threads, which leave one processor to everything else; beyond a bounded
    queue it refuses."""

    def __init__(self, cost: int = HASH_COST, waiting_max: int = WAITING_MAX) -> None:
        """``cost`` is bcrypt's: 12 takes about 0.3 s."""
        self._cost = cost
        self._waiting_max = waiting_max
        self._threads = CapacityLimiter(max(1, (os.cpu_count() or 1) - 1))
        self._pending = 0

    async def hash(self, secret: str) -> str:
        """The hash to store. Raises Rejected(RATE_LIMITED)."""
        hashed = await self._run(bcrypt.hashpw, secret.encode(), bcrypt.gensalt(self._cost))
        return str(hashed.decode())

    async def matches(self, secret: str, secret_hash: str) -> bool:
        """Whether the hash is of this secret. Raises Rejected(RATE_LIMITED)."""
        return bool(await self._run(bcrypt.checkpw, secret.encode(), secret_hash.encode()))

    async def _run(self, function: Any, secret: bytes, other: bytes) -> Any:
        if self._pending >= self._threads.total_tokens + self._waiting_max:
            raise Rejected(
                Problem.RATE_LIMITED,
                "Too many keys are being verified. Try again in a moment.",
                headers={"Retry-After": "2"},
                retry_after=2,
            )
        self._pending += 1
        try:
            return await to_thread.run_sync(function, secret, other, limiter=self._threads)
        finally:
            self._pending -= 1


class Verifier:
    """Verifies keys, dear ones once."""

    def __init__(
        self, database: Database, clock: Clock, hasher: SecretHasher, refusals: Refusals
    ) -> None:
        self._database = database
        self._clock = clock
        self._hasher = hasher
        self._refusals = refusals
        self._digest_key = secrets.token_bytes(32)
        self._genuine: OrderedDict[bytes, str] = OrderedDict()
        self._refused: OrderedDict[bytes, _Refusal] = OrderedDict()
        self._flights: dict[bytes, asyncio.Task[bool]] = {}
        self._attempts = Attempts(clock, WRONG_SECRETS_MAX, _MINUTE, "wrong keys")

    async def verify(self, text: str, caller: Caller) -> KeyRow | None:
        """The key, or None if it is malformed, unknown, revoked or expired; then the audit log is
        told.

        Raises:
            Rejected: RATE_LIMITED when too many keys wait for bcrypt, or the caller's address has
                presented too many wrong ones; UNAVAILABLE.
        """
        key = parse_key(text)
        if key is None:
            self._refusals.note(caller, None, None, "malformed")
            return None
        digest = hmac.digest(self._digest_key, text.encode(), hashlib.sha256)
        refusal = self._remembered_refusal(digest)
        if refusal is None:
            try:
                found = await self._judge(digest, key, caller)
            except Rejected as rejected:
                if rejected.problem is Problem.RATE_LIMITED:
                    self._refusals.note(caller, None, key.display, "rate-limited")
                raise
            if isinstance(found, KeyRow):
                self._remember(digest, found.id)
                return found
            refusal = found
        self._refusals.note(caller, refusal.account_id, key.display, refusal.reason)
        return None

    def forget(self, id: str) -> None:
        """Drops what is remembered of a key; called when it is revoked or replaced."""
        for digest in [digest for digest, known in self._genuine.items() if known == id]:
            del self._genuine[digest]

    async def _judge(self, digest: bytes, key: ApiKey, caller: Caller) -> KeyRow | _Refusal:
        if digest not in self._genuine and digest not in self._flights:
            # Before any I/O: who guesses costs next to nothing.
            self._attempts.check(caller.address)
        row = await self._find(key)
        reason = self._reason_against(row)
        if reason is None and row is not None and digest not in self._genuine:
            if not await self._compare(digest, key.secret, row, caller):
                return self._refuse(digest, "wrong-secret", row.account_id)
            # Looked up again: it may have been revoked while it was being hashed.
            row = await self._find(key)
            reason = self._reason_against(row)
        if row is None or reason is not None:
            return self._refuse(digest, reason or "unknown", row.account_id if row else None)
        return row

    async def _find(self, key: ApiKey) -> KeyRow | None:
        async with self._database.read() as connection:
            return await find_presented(connection, key.key_id, key.kind.value)

    def _reason_against(self, row: KeyRow | None) -> RefusalReason | None:
        if row is None:
            return "unknown"
        if row.revoked_at is not None:
            return "revoked"
        is_expired = row.expires_at is not None and self._clock.now_ms() >= row.expires_at
        return "expired" if is_expired else None

    async def _compare(self, digest: bytes, secret: str, row: KeyRow, caller: Caller) -> bool:
        """One comparison for all who present the same key at the same time."""
        flight = self._flights.get(digest)
        if flight is None:
            self._attempts.begin(caller.address)
            flight = asyncio.create_task(self._hasher.matches(secret, row.secret_hash))
            self._flights[digest] = flight
            flight.add_done_callback(lambda task: self._land(digest, row, caller, task))
        # Shielded: a caller who leaves must not fail the others.
        return await asyncio.shield(flight)

    def _land(self, digest: bytes, row: KeyRow, caller: Caller, flight: asyncio.Task[bool]) -> None:
        # Remembered here, before anybody wakes: a caller who comes now must find flight or result.
        del self._flights[digest]
        if not flight.cancelled() and flight.exception() is None and not flight.result():
            self._refuse(digest, "wrong-secret", row.account_id)
            return
        # It was genuine, or it was not compared.
        self._attempts.succeed(caller.address)
        if not flight.cancelled() and flight.exception() is None:
            self._remember(digest, row.id)

    def _remember(self, digest: bytes, id: str) -> None:
        self._genuine[digest] = id
        self._genuine.move_to_end(digest)
        if len(self._genuine) > REMEMBERED_MAX:
            self._genuine.popitem(last=False)

    def _remembered_refusal(self, digest: bytes) -> _Refusal | None:
        refusal = self._refused.get(digest)
        return refusal if refusal and self._clock.monotonic() < refusal.until else None

    def _refuse(self, digest: bytes, reason: RefusalReason, account_id: str | None) -> _Refusal:
        self._genuine.pop(digest, None)
        until = self._clock.monotonic() + REFUSED_SECONDS
        refusal = self._refused[digest] = _Refusal(reason, account_id, until)
        self._refused.move_to_end(digest)
        if len(self._refused) > REMEMBERED_MAX:
            self._refused.popitem(last=False)
        return refusal
