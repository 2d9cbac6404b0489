"""Where FormFlow's submissions end up, counted past the product, in the database itself."""

import asyncio
import re
import sqlite3
from collections.abc import Coroutine
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx

Value = TypeVar("Value")

_LABEL = re.compile(r'(\w+)="(\w+)"')
_COUNT = "SELECT count(*) FROM submissions"


@dataclass(frozen=True)
class SqliteStore:
    """A database file, and the backend that writes it, which is asked for what only the writing
    connection knows: ``synchronous`` belongs to a connection."""

    path: Path
    backend_url: str | None = None

    def stored(self) -> int:
        """The rows."""
        return int(self._ask(_COUNT))

    def durability(self) -> dict[str, str]:
        """What the connection that commits says of itself, or without a backend the file."""
        if self.backend_url is None:
            return {"database": "SQLite", "journal_mode": str(self._ask("PRAGMA journal_mode"))}
        metrics = httpx.get(f"{self.backend_url}/metrics", trust_env=False).raise_for_status().text
        [line] = [row for row in metrics.splitlines() if row.startswith("formflow_database_info{")]
        return {"database": "SQLite"} | dict(_LABEL.findall(line))

    def _ask(self, query: str) -> Any:
        with closing(sqlite3.connect(f"{self.path.as_uri()}?mode=ro", uri=True)) as connection:
            return connection.execute(query).fetchone()[0]


@dataclass(frozen=True)
class PostgresStore:
    """A PostgreSQL database."""

    url: str

    def stored(self) -> int:
        """The rows."""
        return int(run(self._ask(_COUNT)))

    def durability(self) -> dict[str, str]:
        """The server's settings."""
        names = ("synchronous_commit", "fsync")
        told = {name: str(run(self._ask(f"SHOW {name}"))) for name in names}
        return {"database": "PostgreSQL"} | told

    async def _ask(self, query: str) -> Any:
        import asyncpg

        connection = await asyncpg.connect(self.url)
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()


def run(work: Coroutine[Any, Any, Value]) -> Value:
    """The result of a coroutine, for callers that are not in an event loop."""
    return asyncio.run(work)
