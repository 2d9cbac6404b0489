"""Bringing a database to the schema of this version."""

from pathlib import Path

from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.db import Database
from contracts.runtime.settings import SettingsError, StartError

HEAD = "0007"
_MIGRATIONS = Path(__file__).parent / "migrations"
# Any number, as long as every version uses the same.
_LOCK_ID = 7_308_895


class SchemaError(StartError):
    """The database cannot be brought to this version; the message says why."""


async def migrate(url: str) -> None:
    """Upgrades the database to ``HEAD``, in one transaction; harmless if it is there already, or
    if another process does the same. ``url`` is as for ``Database``.

    Raises:
        SchemaError: the database is of a newer version.
        Rejected: UNAVAILABLE.
    """
    database = Database(url)
    try:
        if await current_revision(database) == HEAD:
            return
        async with database.write() as connection:
            if not database.is_sqlite:
                await connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK_ID})"))
            await connection.run_sync(_upgrade)
    finally:
        await database.close()


async def ensure_schema(database: Database) -> None:
    """Upgrades SQLite's schema to ``HEAD``; PostgreSQL's, which several releases may share, must be
    there.

    Raises:
        SettingsError: the schema is not that of this release.
        SchemaError: it is of a newer version.
        Rejected: UNAVAILABLE.
    """
    if database.is_sqlite:
        await migrate(database.url)
    revision = await current_revision(database)
    if revision != HEAD:
        raise SettingsError(
            f"FORMFLOW_DATABASE_URL: the schema is at version {revision or 'none'}, this "
            f"release needs {HEAD}: run `formflow migrate`"
        )


async def current_revision(database: Database) -> str | None:
    """The revision of the database's schema; None if it is empty."""
    async with database.read() as connection:
        return await _revision(connection)


async def _revision(connection: AsyncConnection) -> str | None:
    if not await connection.run_sync(lambda sync: inspect(sync).has_table("alembic_version")):
        return None
    result = await connection.execute(text("SELECT version_num FROM alembic_version"))
    revision: str | None = result.scalar()
    return revision


def _upgrade(connection: Connection) -> None:
    # Here, because it takes a tenth of a second that most starts need not spend.
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise SchemaError(
            f"The database cannot be brought to revision {HEAD}: {error}. "
            "A newer version of FormFlow may have written it."
        ) from error
