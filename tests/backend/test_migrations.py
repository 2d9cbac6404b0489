import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text

import backend.migrations
from backend.db import Database
from backend.schema import (
    HEAD,
    Schema,
    SchemaError,
    current_revision,
    current_schema,
    ensure_schema,
    migrate,
)
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


async def set_schema(url: str, revision: str, floor: str) -> None:
    """Makes the database say so of itself, as a later release would."""
    database = Database(url)
    async with database.write() as connection:
        await connection.execute(
            text("UPDATE alembic_version SET version_num = :r"), {"r": revision}
        )
        await connection.execute(text("UPDATE schema_floor SET revision = :r"), {"r": floor})
    await database.close()


async def test_a_database_of_a_newer_version_that_needs_its_code_is_refused(
    database_url: str,
) -> None:
    url = driver_url(database_url)
    await set_schema(url, "9999", floor="9998")
    database = Database(url)
    for refused in (migrate(url), ensure_schema(database)):
        with pytest.raises(SchemaError, match="newer version .* schema 9999 .* schema 9998"):
            await refused
    await database.close()


async def test_a_database_of_a_newer_version_that_permits_this_one_is_taken_as_it_is(
    database_url: str,
) -> None:
    url = driver_url(database_url)
    await set_schema(url, "9999", floor=HEAD)
    database = Database(url)
    await migrate(url)
    await ensure_schema(database)
    assert await current_revision(database) == "9999"
    await database.close()


async def test_a_database_from_before_the_floor_is_upgraded_and_gets_one(
    database_url: str,
) -> None:
    url = driver_url(database_url)
    database = Database(url)
    async with database.write() as connection:
        await connection.execute(text("DROP TABLE schema_floor"))
        await connection.execute(text("UPDATE alembic_version SET version_num = '0007'"))
    await migrate(url)
    assert await current_schema(database) == Schema(HEAD, floor="0008")
    await database.close()


async def test_revisions_are_numbers_in_order_so_that_they_can_be_compared() -> None:
    versions = Path(backend.migrations.__file__).parent / "versions"
    revisions = sorted(path.name[:4] for path in versions.glob("[0-9]*.py"))
    assert revisions == [f"{number:04}" for number in range(1, len(revisions) + 1)]
    assert revisions[-1] == HEAD


async def test_a_migration_waits_shortly_for_others_changes_nothing_and_can_be_repeated(
    database_url: str,
) -> None:
    url = driver_url(database_url)
    database = Database(url)
    async with database.write() as connection:
        await connection.execute(text("DROP TABLE schema_floor"))
        await connection.execute(text("UPDATE alembic_version SET version_num = '0007'"))
    async with database.write() as connection:
        # As a row that is being written: on SQLite nobody else writes, on PostgreSQL nobody
        # changes the table.
        await connection.execute(text("UPDATE alembic_version SET version_num = '0007'"))
        with pytest.raises(SchemaError, match=r"nothing was changed.*run `formflow migrate` again"):
            await migrate(url, attempts=1)
        assert await revision_of(url) == "0007"
        under_way = asyncio.create_task(migrate(url))
        await asyncio.sleep(0)
    await under_way
    assert await revision_of(url) == HEAD
    await database.close()
