"""Rows put straight into FormFlow's SQLite database: the API would take hours for so many."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import accumulate, chain
from pathlib import Path
from random import Random
from typing import Any

import bcrypt
import orjson

from contracts.ids import new_id
from contracts.keys import KeyKind, mint_key

FORM_PATH = b"/v1/f/seeded-%06d"
_VOCABULARY = [f"word{n}" for n in range(20_000)]
# As in languages: the n-th word is an n-th as frequent as the first (Zipf).
_WEIGHTS = list(accumulate(1 / (n + 1) for n in range(len(_VOCABULARY))))
_META = '{"ip":"192.0.2.1","user_agent":"Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"}'
_TRACE = '[["form","live",3],["rate limit","admitted",9],["body","read",40],["quota","left",2]]'
_ROWS_AT_ONCE = 20_000
# The least that bcrypt knows: what is measured is not how long a verification takes.
_BCRYPT_COST = 4


@dataclass(frozen=True)
class Seeded:
    """Where seeded submissions begin, and the ids of the middle and the last one."""

    first_ms: int
    middle_id: str
    last_id: str


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


def seed_submissions(data_dir: Path, form_id: str, count: int) -> Seeded:
    """Adds submissions to a form, a second apart until two minutes ago: 90 of 100 are received,
    one of 1,000 is held, the rest is spam; nine of ten are read. Of their words some are in all of
    them, and some in one only."""
    words = Random(1)  # noqa: S311
    now_ms = int(time.time() * 1000)  # noqa: TID251 -- ids are minted at the time of the machine
    first_ms = now_ms - (count + 120) * 1000
    ids: list[str] = []

    def row(n: int) -> dict[str, Any]:
        ids.append(new_id("sub", first_ms + n * 1000))
        text = " ".join(words.choices(_VOCABULARY, cum_weights=_WEIGHTS, k=25))
        payload = {"name": f"Visitor {n}", "email": f"v{n}@example.com", "message": text}
        part = n % 1_000
        return {
            "id": ids[-1],
            "form_id": form_id,
            "received_at": first_ms + n * 1000,
            "status": "held" if part == 0 else "spam" if part < 100 else "received",
            "payload": orjson.dumps(payload).decode(),
            "meta": _META,
            "trace": _TRACE,
            "charged": 1,
            "is_read": n % 10 != 1,
        }

    with _database(data_dir) as database:
        for start in range(0, count, _ROWS_AT_ONCE):
            numbers = range(start, min(start + _ROWS_AT_ONCE, count))
            _insert(database, "submissions", map(row, numbers))
        # They are older than what the indexer has seen.
        with database:
            database.execute("UPDATE search_state SET complete_before = ''")
    return Seeded(first_ms, ids[count // 2], ids[-1])


def is_indexed(data_dir: Path, id: str) -> bool:
    """Whether all submissions up to this one can be found in the index."""
    with _database(data_dir) as database:
        state = _row(database, "SELECT complete_before FROM search_state")
        return bool(state["complete_before"] >= id)


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
