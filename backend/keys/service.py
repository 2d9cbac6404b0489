"""Rules of API keys: shown once, revoked for good."""

from collections.abc import Sequence
from dataclasses import dataclass

from backend.access import Principal
from backend.answers import missing
from backend.changes import ChangeFeed, bump_revision
from backend.db import Connection, Database
from backend.keys import store
from backend.keys.store import KeyRow
from backend.keys.verifier import SecretHasher, Verifier
from contracts.ids import is_id, new_id
from contracts.keys import ApiKey, KeyKind, mint_key
from contracts.runtime.clock import Clock


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key to store. ``created_by`` is a key or a user; None is the local operator."""

    account_id: str
    name: str
    key: ApiKey
    secret_hash: str
    created_by: str | None


async def add_key(connection: Connection, new: NewKey, now_ms: int) -> KeyRow:
    """Stores a key and stamps it with a new revision."""
    row = KeyRow(
        id=new_id("key", now_ms),
        account_id=new.account_id,
        key_id=new.key.key_id,
        kind=new.key.kind.value,
        name=new.name,
        prefix=new.key.display,
        secret_hash=new.secret_hash,
        created_by=new.created_by,
        created_at=now_ms,
        revoked_at=None,
        revision=await bump_revision(connection),
    )
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
    ) -> None:
        self._database = database
        self._feed = feed
        self._clock = clock
        self._hasher = hasher
        self._verifier = verifier

    async def create(self, principal: Principal, name: str, kind: KeyKind) -> tuple[KeyRow, str]:
        """A new key: its row, and the full text that is never shown again."""
        key = mint_key(kind)
        secret_hash = await self._hasher.hash(key.secret)
        new = NewKey(principal.account_id, name, key, secret_hash, principal.key_id)
        async with self._database.write() as connection:
            row = await add_key(connection, new, self._clock.now_ms())
        self._feed.announce()
        return row, key.text

    async def list(self, principal: Principal, before: str | None, limit: int) -> Sequence[KeyRow]:
        """Keys, newest first, revoked ones too."""
        async with self._database.read() as connection:
            return await store.list_keys(connection, principal.account_id, before, limit)

    async def get(self, principal: Principal, id: str) -> KeyRow:
        """One key. Raises Rejected(NOT_FOUND)."""
        if not is_id(id, "key"):
            raise missing("API key")
        async with self._database.read() as connection:
            row = await store.find_key(connection, principal.account_id, id)
        if row is None:
            raise missing("API key")
        return row

    async def revoke(self, principal: Principal, id: str) -> None:
        """Revokes a key; once more changes nothing. Raises Rejected(NOT_FOUND)."""
        if (await self.get(principal, id)).revoked_at is not None:
            return
        async with self._database.write() as connection:
            revision = await bump_revision(connection)
            now_ms = self._clock.now_ms()
            await store.revoke_key(connection, principal.account_id, id, now_ms, revision)
        self._verifier.forget(id)
        self._feed.announce()
