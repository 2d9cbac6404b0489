"""Whether a presented key is genuine.

Guarantees: bcrypt never runs on the event loop, and only so often at once; a revoked key is
refused at the next request, whichever process revoked it, because its row is read every time; what
is remembered of a key is a digest under a key of this process's own.
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

from backend.db import Database
from backend.keys.store import KeyRow, find_active
from contracts.keys import ApiKey, KeyKind, parse_key
from contracts.problems import Problem, Rejected
from contracts.runtime.clock import Clock

HASH_COST = 12
WAITING_MAX = 64
REMEMBERED_MAX = 10_000
REFUSED_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class VerifiedKey:
    """A key that is genuine and in force. ``id`` names its row (``key_…``), ``key_id`` is the
    public part of the key itself."""

    id: str
    key_id: str
    account_id: str
    kind: KeyKind
    revision: int


class SecretHasher:
    """bcrypt in worker threads, one per processor; beyond a bounded queue it refuses."""

    def __init__(self, cost: int = HASH_COST, waiting_max: int = WAITING_MAX) -> None:
        """``cost`` is bcrypt's: 12 takes about 0.3 s."""
        self._cost = cost
        self._waiting_max = waiting_max
        self._threads = CapacityLimiter(os.cpu_count() or 1)
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

    def __init__(self, database: Database, clock: Clock, hasher: SecretHasher) -> None:
        self._database = database
        self._clock = clock
        self._hasher = hasher
        self._digest_key = secrets.token_bytes(32)
        self._genuine: OrderedDict[bytes, str] = OrderedDict()
        self._refused: OrderedDict[bytes, float] = OrderedDict()
        self._flights: dict[bytes, asyncio.Task[bool]] = {}

    async def verify(self, text: str) -> VerifiedKey | None:
        """The key, or None if it is malformed, unknown or revoked.

        Raises:
            Rejected: RATE_LIMITED when too many keys wait for bcrypt, UNAVAILABLE.
        """
        key = parse_key(text)
        if key is None:
            return None
        digest = hmac.digest(self._digest_key, text.encode(), hashlib.sha256)
        if self._is_refused(digest):
            return None
        row = await self._find(key)
        if row is not None and digest not in self._genuine:
            is_genuine = await self._compare(digest, key.secret, row)
            # Looked up again: it may have been revoked while it was being hashed.
            row = await self._find(key) if is_genuine else None
        if row is None:
            self._refuse(digest)
            return None
        self._remember(digest, row.id)
        return VerifiedKey(row.id, row.key_id, row.account_id, key.kind, row.revision)

    def forget(self, id: str) -> None:
        """Drops what is remembered of a key; called when it is revoked."""
        for digest in [digest for digest, known in self._genuine.items() if known == id]:
            del self._genuine[digest]

    async def _find(self, key: ApiKey) -> KeyRow | None:
        async with self._database.read() as connection:
            return await find_active(connection, key.key_id, key.kind.value)

    async def _compare(self, digest: bytes, secret: str, row: KeyRow) -> bool:
        """One comparison for all who present the same key at the same time."""
        flight = self._flights.get(digest)
        if flight is None:
            flight = asyncio.create_task(self._hasher.matches(secret, row.secret_hash))
            self._flights[digest] = flight
            flight.add_done_callback(lambda task: self._land(digest, row.id, task))
        # Shielded: a caller who leaves must not fail the others.
        return await asyncio.shield(flight)

    def _land(self, digest: bytes, id: str, flight: asyncio.Task[bool]) -> None:
        # Remembered here, before anybody wakes: a caller who comes now must find flight or result.
        del self._flights[digest]
        if not flight.cancelled() and flight.exception() is None:
            if flight.result():
                self._remember(digest, id)
            else:
                self._refuse(digest)

    def _remember(self, digest: bytes, id: str) -> None:
        self._genuine[digest] = id
        self._genuine.move_to_end(digest)
        if len(self._genuine) > REMEMBERED_MAX:
            self._genuine.popitem(last=False)

    def _is_refused(self, digest: bytes) -> bool:
        until = self._refused.get(digest)
        return until is not None and self._clock.monotonic() < until

    def _refuse(self, digest: bytes) -> None:
        self._genuine.pop(digest, None)
        self._refused[digest] = self._clock.monotonic() + REFUSED_SECONDS
        self._refused.move_to_end(digest)
        if len(self._refused) > REMEMBERED_MAX:
            self._refused.popitem(last=False)
