import asyncio
from typing import Any

import pytest
from sqlalchemy import Connection, text

from backend.db import Database
from backend.schema import HEAD, SchemaError, current_revision, ensure_schema, migrate
from backend.tables import metadata
from contracts.runtime.settings import SettingsError, load_settings

pytestmark = pytest.mark.asyncio


def driver_url(url: str) -> str:
    return load_settings(environ={}, database_url=url).sqlalchemy_url()


def differences(connection: Connection) -> Any:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    options = {"include_object": lambda *described: not is_of_one_engine(described[1])}
    return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)


def is_of_one_engine(name: str) -> bool:
    """Whether it is how only one of the engines indexes the words of submissions."""
    return name.startswith("search_index") or name == "ix_search_documents_terms"


async def revision_of(url: str) -> str | None:
    database = Database(url)
    try:
        return await current_revision(database)
    finally:
        await database.close()


async def test_the_migrated_schema_is_that_of_the_tables(database_url: str) -> None:
    database = Database(driver_url(database_url))
    try:
        async with database.read() as connection:
            assert await connection.run_sync(differences) == []
    finally:
        await database.close()


async def test_an_empty_database_is_brought_to_the_head_once(empty_database_url: str) -> None:
    url = driver_url(empty_database_url)
    assert await revision_of(url) is None
    for _ in range(2):
        await migrate(url)
        assert await revision_of(url) == HEAD


async def test_only_sqlite_is_migrated_by_whoever_opens_it(empty_database_url: str) -> None:
    database = Database(driver_url(empty_database_url))
    try:
        if database.is_sqlite:
            await ensure_schema(database)
        else:
            with pytest.raises(SettingsError, match="run `formflow migrate`"):
                await ensure_schema(database)
        assert await current_revision(database) == (HEAD if database.is_sqlite else None)
    finally:
        await database.close()


async def test_processes_that_migrate_at_once_do_not_disturb_each_other(
    empty_database_url: str,
) -> None:
    url = driver_url(empty_database_url)
    await asyncio.gather(
        *(asyncio.to_thread(asyncio.run, migrate(url)) for _ in range(4)),
    )
    assert await revision_of(url) == HEAD


async def test_a_database_of_a_newer_version_is_refused(database_url: str) -> None:
    url = driver_url(database_url)
    database = Database(url)
    async with database.write() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    await database.close()
    with pytest.raises(SchemaError, match="newer version"):
        await migrate(url)
