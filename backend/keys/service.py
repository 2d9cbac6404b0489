"""Rules of API keys: shown once, changed and rotated within what their owner may, revoked for good.

Every change takes the configuration counter first, so that of two changes of a key at once the
second sees the first's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from backend.access import Principal
from backend.answers import missing
from backend.audit.actions import Action
from backend.audit.record import record
from backend.caller import Caller
from backend.changes import ChangeFeed, bump_revision
from backend.db import Connection, Database
from backend.keys import store
from backend.keys.attempts import Attempts
from backend.keys.minting import HOUR_MS, MintingRules
from backend.keys.store import KeyRow
from backend.keys.terms import (
    KeyStatus,
    check_no_more,
    is_visible,
    status_of,
)
from backend.keys.validation import check_references, check_terms, completed_terms
from backend.keys.verifier import SecretHasher, Verifier
from backend.plans.catalogue import Plan
from contracts.ids import is_id, new_id
from contracts.keys import ApiKey, KeyKind, mint_key
from contracts.problems import Problem, Rejected
from contracts.runtime.clock import Clock

_REPORTS_MAX = 20
_REPORTS_SECONDS = 60.0
_LISTED_AT_ONCE = 100
_STATES = {
    KeyStatus.GRACE: "replaced by another",
    KeyStatus.EXPIRED: "expired",
    KeyStatus.REVOKED: "revoked",
}


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key to store. ``created_by`` is a key or a user; None is the local operator. ``terms`` are
    the members of ``KeyRow`` from ``scopes`` on."""

    account_id: str
    name: str
    key: ApiKey
    secret_hash: str
    created_by: str | None
    terms: Mapping[str, Any] = field(default_factory=dict)

    def row(self, now_ms: int, revision: int) -> KeyRow:
        """The row to store."""
        return KeyRow(
            id=new_id("key", now_ms),
            account_id=self.account_id,
            key_id=self.key.key_id,
            kind=self.key.kind.value,
            name=self.name,
            prefix=self.key.display,
            secret_hash=self.secret_hash,
            created_by=self.created_by,
            created_at=now_ms,
            revoked_at=None,
            revision=revision,
            **self.terms,
        )


async def add_key(connection: Connection, new: NewKey, now_ms: int) -> KeyRow:
    """Stores the first key of an account and stamps it with a new revision."""
    row = new.row(now_ms, await bump_revision(connection))
    await store.insert_key(connection, row)
    return row


class KeyService:
    """The keys of an account."""

    def __init__(
        self,
        database: Database,
        feed: ChangeFeed,
        clock: Clock,
        hasher: SecretHasher,
        verifier: Verifier,
        minting: MintingRules,
    ) -> None:
        self._database = database
        self._feed = feed
        self._clock = clock
        self._hasher = hasher
        self._verifier = verifier
        self._minting = minting
        self._reports = Attempts(clock, _REPORTS_MAX, _REPORTS_SECONDS, "reports of leaked keys")

    async def create(
        self,
        principal: Principal,
        name: str,
        kind: KeyKind,
        terms: Mapping[str, Any] | None = None,
    ) -> tuple[KeyRow, str]:
        """A new key: its row, and the full text that is never shown again. What ``terms`` do not
        name, the key has from its creator.

        Raises:
            Rejected: VALIDATION_ERROR; INSUFFICIENT_SCOPE if the key would go further than the
                principal; RATE_LIMITED after too many in an hour; CONFLICT if the plan has no room.
        """
        completed = completed_terms(principal, kind, terms or {}, self._clock.now_ms())
        key = mint_key(kind)
        new = NewKey(principal.account_id, name, key, "", principal.actor.id, completed)
        # Before the hash is made, which is dear; and again with the counter held.
        async with self._database.read() as connection:
            await self._check_new(connection, principal, new.row(self._clock.now_ms(), 0))
        new = replace(new, secret_hash=await self._hasher.hash(key.secret))
        async with self._database.write() as connection:
            revision = await bump_revision(connection)
            row = new.row(self._clock.now_ms(), revision)
            await self._check_new(connection, principal, row)
            await store.insert_key(connection, row)
            await record(
                connection, principal, "key.created", row.id, row.created_at, kind=row.kind
            )
        self._feed.announce()
        return row, key.text

    async def list(self, principal: Principal, before: str | None, limit: int) -> Sequence[KeyRow]:
        """Keys that the principal sees, newest first, revoked ones too."""
        found: list[KeyRow] = []
        async with self._database.read() as connection:
            while len(found) < limit:
                rows = await store.list_keys(
                    connection, principal.account_id, before, _LISTED_AT_ONCE
                )
                found += (row for row in rows if is_visible(principal, row))
                if len(rows) < _LISTED_AT_ONCE:
                    break
                before = rows[-1].id
        return found[:limit]

    async def plan(self, principal: Principal) -> Plan:
        """The plan of the principal's account, which limits what keys may."""
        async with self._database.read() as connection:
            return await self._minting.plan(connection, principal.account_id)

    async def get(self, principal: Principal, id: str) -> KeyRow:
        """One key. Raises Rejected(NOT_FOUND)."""
        async with self._database.read() as connection:
            return await _find(connection, principal, id)

    async def change(self, principal: Principal, id: str, changes: Mapping[str, Any]) -> KeyRow:
        """The active key with the named members changed.

        Raises:
            Rejected: NOT_FOUND, VALIDATION_ERROR; CONFLICT for a key that is not active;
                INSUFFICIENT_SCOPE if it goes further than the principal, or would.
        """
        old = await self.get(principal, id)
        if not changes:
            return old
        async with self._database.write() as connection:
            revision, now_ms = await bump_revision(connection), self._clock.now_ms()
            old = await _find(connection, principal, id)
            _require_active(old, now_ms, "changed")
            check_no_more(principal, old)
            await self._check(connection, principal, replace(old, **changes), old, now_ms)
            values = {**changes, "revision": revision}
            row = await store.update_key(connection, old.account_id, id, values)
            members = sorted(changes)
            await record(connection, principal, "key.changed", id, now_ms, members=members)
        self._feed.announce()
        return row

    async def rotate(self, principal: Principal, id: str, grace_hours: int) -> tuple[KeyRow, str]:
        """A new key of the same name and terms, and its full text. The old one goes on for
        ``grace_hours``, if it does not end before.

        Raises:
            Rejected: NOT_FOUND; CONFLICT for a key that is not active; INSUFFICIENT_SCOPE if it
                goes further than the principal; RATE_LIMITED after too many keys in an hour.
        """
        async with self._database.read() as connection:
            old = await _find(connection, principal, id)
            await self._check_rotation(connection, principal, old, self._clock.now_ms())
        key = mint_key(KeyKind(old.kind))
        secret_hash = await self._hasher.hash(key.secret)
        async with self._database.write() as connection:
            revision, now_ms = await bump_revision(connection), self._clock.now_ms()
            old = await _find(connection, principal, id)
            await self._check_rotation(connection, principal, old, now_ms)
            row = replace(
                old,
                id=new_id("key", now_ms),
                key_id=key.key_id,
                prefix=key.display,
                secret_hash=secret_hash,
                created_by=principal.actor.id,
                created_at=now_ms,
                revision=revision,
                last_used_at=None,
            )
            await store.insert_key(connection, row)
            grace_ends_at = now_ms + grace_hours * HOUR_MS
            ending = {
                "expires_at": min(old.expires_at or grace_ends_at, grace_ends_at),
                "replaced_by": row.id,
                "revision": revision,
            }
            await store.update_key(connection, old.account_id, id, ending)
            details = {"replaced_by": row.id, "grace_hours": grace_hours}
            await record(connection, principal, "key.rotated", id, now_ms, **details)
        self._verifier.forget(id)
        self._feed.announce()
        return row, key.text

    async def revoke(self, principal: Principal, id: str) -> None:
        """Revokes a key; once more changes nothing. Raises Rejected(NOT_FOUND)."""
        if (await self.get(principal, id)).revoked_at is None:
            await self._end(principal, id, "key.revoked")

    async def report_leaked(self, text: str, caller: Caller) -> None:
        """Revokes the key of that text, if it is genuine and in force; tells nobody whether.

        Raises:
            Rejected: RATE_LIMITED after too many reports from the caller's address, UNAVAILABLE.
        """
        self._reports.begin(caller.address)
        key = await self._verifier.verify(text, caller)
        if key is not None:
            # Who can tell the key in full holds it: it is the key that acts.
            holder = Principal(key.account_id, key.id, frozenset(), caller=caller)
            await self._end(holder, key.id, "key.leaked")

    async def _end(self, principal: Principal, id: str, action: Action) -> None:
        async with self._database.write() as connection:
            revision, now_ms = await bump_revision(connection), self._clock.now_ms()
            key = await store.find_key(connection, principal.account_id, id)
            if key is not None and key.revoked_at is None:
                ending = {"revoked_at": now_ms, "revision": revision}
                await store.update_key(connection, principal.account_id, id, ending)
                await record(connection, principal, action, id, now_ms)
        self._verifier.forget(id)
        self._feed.announce()

    async def _check_new(self, connection: Connection, principal: Principal, row: KeyRow) -> None:
        now_ms = row.created_at
        await self._check(connection, principal, row, None, now_ms)
        await self._minting.check_pace(connection, row.account_id, now_ms)
        await self._minting.check_room(connection, principal, row, now_ms)

    async def _check_rotation(
        self, connection: Connection, principal: Principal, old: KeyRow, now_ms: int
    ) -> None:
        _require_active(old, now_ms, "rotated")
        check_no_more(principal, old)
        await self._minting.check_pace(connection, old.account_id, now_ms)

    async def _check(
        self,
        connection: Connection,
        principal: Principal,
        row: KeyRow,
        before: KeyRow | None,
        now_ms: int,
    ) -> None:
        plan = await self._minting.plan(connection, row.account_id)
        check_terms(row, before, plan, now_ms)
        check_no_more(principal, row)
        await check_references(connection, principal, row, before)


async def _find(connection: Connection, principal: Principal, id: str) -> KeyRow:
    key = None
    if is_id(id, "key"):
        key = await store.find_key(connection, principal.account_id, id)
    if key is None or not is_visible(principal, key):
        raise missing("API key")
    return key


def _require_active(key: KeyRow, now_ms: int, done: str) -> None:
    status = status_of(key, now_ms)
    if status is not KeyStatus.ACTIVE:
        raise Rejected(
            Problem.CONFLICT,
            f"Only an active key can be {done}: this one is {_STATES[status]}.",
        )
