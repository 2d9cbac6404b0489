"""The database of the peer ``fastapi``: one aiosqlite connection, one durable commit a post."""

import asyncio
import json
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiosqlite

_SCHEMA = Path(__file__).parents[1] / "schema.sql"
_RECEIPT_MS = 24 * 3_600_000

_FIND_RECEIPT = """
    SELECT submission_id, receipts.received_at FROM receipts JOIN forms ON forms.id = form_id
    WHERE slug = ? AND key = ? AND receipts.received_at > ?
"""
# Checks and charges at once: no row comes back for a form that cannot take the post.
_CHARGE = """
    UPDATE forms SET used = CASE month WHEN :month THEN used ELSE 0 END + 1, month = :month
    WHERE slug = :slug AND status = 'live' AND CASE month WHEN :month THEN used ELSE 0 END < quota
    RETURNING id
"""
_FIND_STATUS = "SELECT status FROM forms WHERE slug = ?"
_INSERT = "INSERT INTO submissions (id, form_id, received_at, payload) VALUES (?, ?, ?, ?)"
_BIND = """
    INSERT OR REPLACE INTO receipts (form_id, key, submission_id, received_at) VALUES (?, ?, ?, ?)
"""


class Refused(Exception):
    """The post is not stored; ``status`` is HTTP's."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True, slots=True)
class Stored:
    """A submission that is on the disk."""

    id: str
    received_at: int


class Submissions:
    """Stores posts; ``close`` it in the end."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection
        # A transaction belongs to the connection: posts take turns.
        self._turn = asyncio.Lock()

    @classmethod
    async def open(cls, path: str) -> "Submissions":
        """Creates the database."""
        connection = await aiosqlite.connect(path)
        await connection.execute("PRAGMA journal_mode = WAL")
        await connection.execute("PRAGMA synchronous = FULL")
        await connection.executescript(_SCHEMA.read_text())
        return cls(connection)

    async def close(self) -> None:
        """Closes the connection."""
        await self._connection.close()

    async def store(self, slug: str, payload: dict[str, Any], key: str | None) -> Stored:
        """Returns after the commit. Raises Refused."""
        async with self._turn:
            try:
                stored = await self._store(slug, json.dumps(payload), key)
                await self._connection.commit()
            except BaseException:
                await self._connection.rollback()
                raise
        return stored

    async def durability(self) -> dict[str, str]:
        """What the database says of the connection that stores."""
        return {name: await self._pragma(name) for name in ("journal_mode", "synchronous")}

    async def _store(self, slug: str, payload: str, key: str | None) -> Stored:
        now = time.time_ns() // 1_000_000
        if key is not None:
            known = await self._rows(_FIND_RECEIPT, (slug, key, now - _RECEIPT_MS))
            if known:
                return Stored(*known[0])
        form_id = await self._charge(slug)
        stored = Stored(f"sub_{now:012x}{secrets.token_hex(10)}", now)
        await self._connection.execute(_INSERT, (stored.id, form_id, now, payload))
        if key is not None:
            await self._connection.execute(_BIND, (form_id, key, stored.id, now))
        return stored

    async def _charge(self, slug: str) -> int:
        month = time.strftime("%Y-%m", time.gmtime())
        charged = await self._rows(_CHARGE, {"slug": slug, "month": month})
        if charged:
            return int(charged[0][0])
        found = await self._rows(_FIND_STATUS, (slug,))
        if not found:
            raise Refused(404, "there is no such form")
        if found[0][0] != "live":
            raise Refused(403, "the form takes no submissions")
        raise Refused(402, "the form has used its submissions of this month")

    async def _rows(self, sql: str, parameters: Any) -> list[Any]:
        return list(await self._connection.execute_fetchall(sql, parameters))

    async def _pragma(self, name: str) -> str:
        return str((await self._rows(f"PRAGMA {name}", ()))[0][0])
