"""Rows put straight into FormFlow's SQLite database: the API would take hours for so many."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any

import bcrypt

from contracts.ids import new_id
from contracts.keys import KeyKind, mint_key

FORM_PATH = b"/v1/f/seeded-%06d"
# The least that bcrypt knows: what is measured is not how long a verification takes.
_BCRYPT_COST = 4


def seed_forms(data_dir: Path, count: int) -> None:
    """Adds forms like the demo form, which ``FORM_PATH`` numbers from 0."""
    with _database(data_dir) as database:
        demo = _row(database, "SELECT * FROM forms WHERE slug = 'demo'")
        _insert(
            database,
            "forms",
            ({**demo, "id": new_id("frm", n), "slug": f"seeded-{n:06d}"} for n in range(count)),
        )


def seed_submission_keys(data_dir: Path, count: int) -> list[str]:
    """Adds keys that may post; returns them in full."""
    keys = [mint_key(KeyKind.SUBMISSION) for _ in range(count)]
    salt = bcrypt.gensalt(_BCRYPT_COST)
    with _database(data_dir) as database:
        management = _row(database, "SELECT * FROM api_keys LIMIT 1")
        rows = (
            management
            | {
                "id": new_id("key", n),
                "key_id": key.key_id,
                "kind": key.kind.value,
                "prefix": key.display,
                "secret_hash": bcrypt.hashpw(key.secret.encode(), salt).decode(),
            }
            for n, key in enumerate(keys)
        )
        _insert(database, "api_keys", rows)
    return [key.text for key in keys]


def _database(data_dir: Path) -> "closing[sqlite3.Connection]":
    path = data_dir / "formflow.db"
    if not path.exists():
        raise RuntimeError("so many forms or keys can be put into SQLite only")
    connection = sqlite3.connect(path, timeout=30.0)
    connection.row_factory = sqlite3.Row
    return closing(connection)


def _row(database: sqlite3.Connection, query: str) -> dict[str, Any]:
    return dict(database.execute(query).fetchone())


def _insert(database: sqlite3.Connection, table: str, rows: Iterator[dict[str, Any]]) -> None:
    """Inserts rows that all have the same columns, in one transaction."""
    first = next(rows)
    names = ", ".join(first)
    values = ", ".join(f":{name}" for name in first)
    statement = f"INSERT INTO {table} ({names}) VALUES ({values})"  # noqa: S608 -- our own names
    with database:
        database.executemany(statement, chain([first], rows))
