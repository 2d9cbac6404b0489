"""Where the peers' posts end up, seen from outside."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import httpx


@dataclass(frozen=True)
class PeerStore:
    """The SQLite database of a running peer."""

    database: Path
    origin: str

    def stored(self) -> int:
        """The rows, counted over a connection of its own."""
        with closing(sqlite3.connect(f"{self.database.as_uri()}?mode=ro", uri=True)) as connection:
            return int(connection.execute("SELECT count(*) FROM submissions").fetchone()[0])

    def durability(self) -> dict[str, str]:
        """The peer's own connection's pragmas: ``synchronous`` is not kept in the file."""
        answer = httpx.get(f"{self.origin}/durability", timeout=10)
        return cast(dict[str, str], answer.raise_for_status().json())
