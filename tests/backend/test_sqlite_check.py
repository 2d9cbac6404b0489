"""A damaged file is found before anything is written to it."""

import random
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from backend.sqlite_check import check_file
from contracts.runtime.settings import SettingsError
from tests.faults.damage import flip, flip_bit, scramble_page, shorten

_ROWS = 3_000


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A table with an index."""
    path = tmp_path / "formflow.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("BEGIN")
        connection.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, form TEXT, text TEXT)")
        connection.execute("CREATE INDEX notes_by_form ON notes (form)")
        rows = [(f"form_{number % 7}", "x" * 50) for number in range(_ROWS)]
        connection.executemany("INSERT INTO notes (form, text) VALUES (?, ?)", rows)
        connection.execute("COMMIT")
    return path


def test_a_whole_file_is_found_whole_and_left_as_it_is(database: Path) -> None:
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("INSERT INTO notes (form, text) VALUES ('late', 'in the log')")
        log = database.with_name("formflow.db-wal").read_bytes()
        before = database.read_bytes()
        assert log
        assert check_file(database)
        assert database.with_name("formflow.db-wal").read_bytes() == log
    assert database.stat().st_size == len(before)


@pytest.mark.parametrize("spoil", [flip, flip_bit, shorten, scramble_page])
@pytest.mark.parametrize("seed", range(10))
def test_no_row_goes_missing_without_a_word(
    database: Path, spoil: Callable[[random.Random, Path], None], seed: int
) -> None:
    spoil(random.Random(seed), database)
    complaint = complaint_about(database)
    if complaint is None:
        assert rows_of(database) == _ROWS
    else:
        assert re.search(r"is damaged \([^\n]+\): restore a backup[^\n]+$", complaint)


def test_an_index_that_has_lost_an_entry_is_found(database: Path) -> None:
    data = database.read_bytes()
    # The index alone keeps the name next to the row's number, with nothing behind.
    with closing(sqlite3.connect(database)) as connection:
        sql = "SELECT rootpage FROM sqlite_schema WHERE name = 'notes_by_form'"
        [root] = connection.execute(sql).fetchone()
        [size] = connection.execute("PRAGMA page_size").fetchone()
    start = (root - 1) * size
    at = data.index(b"form_", start, start + size)
    database.write_bytes(data[:at] + b"mrof_" + data[at + 5 :])
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
    with pytest.raises(SettingsError, match="notes_by_form"):
        check_file(database)


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "formflow.db"
    path.write_bytes(b"not a database, but long enough to be taken for one" * 100)
    with pytest.raises(SettingsError, match="file is not a database"):
        check_file(path)


def test_a_check_that_takes_too_long_is_given_up(database: Path) -> None:
    assert check_file(database, 60.0)
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute(
            "INSERT INTO notes (form, text) WITH RECURSIVE number(n) AS"
            " (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 100000)"
            " SELECT 'form_' || n % 7, hex(randomblob(20)) FROM number"
        )
    assert not check_file(database, 0.0)


def complaint_about(path: Path) -> str | None:
    """What the check says of a file; None if it is whole."""
    try:
        assert check_file(path)
    except SettingsError as error:
        return str(error)
    return None


def rows_of(path: Path) -> int:
    """The rows that a query by the index finds."""
    with closing(sqlite3.connect(path)) as connection:
        sql = "SELECT count(*) FROM notes INDEXED BY notes_by_form WHERE form >= ''"
        return int(connection.execute(sql).fetchone()[0])
