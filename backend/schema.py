"""Bringing a database to the schema of this version, and saying whether it suits this version.

During an upgrade two releases share a database: a migration only adds what the code of the release
before it need not know, and says so by leaving the *floor* where it is, the oldest revision whose
code can work with the schema. The migration that takes away what older code needs raises the floor.
``CONTRIBUTING.md`` says how migrations are written.
"""

import asyncio
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, inspect, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.db import Database
from backend.tables import schema_floor
from contracts.problems import Rejected
from contracts.runtime.settings import SettingsError, StartError
from contracts.runtime.telemetry import get_logger

HEAD = "0008"
_MIGRATIONS = Path(__file__).parent / "migrations"
# Any number, as long as every version uses the same.
_LOCK_ID = 7_308_895
# How long another process that migrates is waited for.
_TURN_MS = 60_000
# How long a statement waits for a table that others use. Whoever comes after it waits, too: no
# longer than a gateway waits for a batch, which it queues then.
_TABLE_MS = 1_500
_PAUSE_SECONDS = 1.0
# PostgreSQL's codes lock_not_available and deadlock_detected
# (https://www.postgresql.org/docs/current/errcodes-appendix.html).
_LOCKED = ("55P03", "40P01")


class SchemaError(StartError):
    """The database cannot be brought to this version; the message says why."""


@dataclass(frozen=True, slots=True)
class Schema:
    """What a database says of its schema: its revision, None if it is empty, and the oldest
    revision whose code can work with it, None before there was such a thing (0008)."""

    revision: str | None
    floor: str | None

    @property
    def is_newer(self) -> bool:
        """Whether a later release has migrated it."""
        return self.revision is not None and self.revision > HEAD

    @property
    def is_usable(self) -> bool:
        """Whether this release can work with it as it is."""
        is_permitted = self.floor is not None and self.floor <= HEAD
        return self.revision == HEAD or (self.is_newer and is_permitted)


async def migrate(url: str, attempts: int = 5) -> None:
    """Upgrades the database to ``HEAD``, in one transaction: whole or not at all, so that one that
    was interrupted can be repeated. Harmless if it is there already, if it is beyond and suits this
    release, or if another process does the same. ``url`` is as for ``Database``.

    Others may use the database meanwhile. A table that they hold is waited for shortly, so that
    nobody queues behind the migration for long; then everything is given up and, after a pause,
    attempted again.

    Raises:
        SchemaError: the database is of a newer version that this one cannot work with; or others
            held it at each attempt, and nothing was changed.
        Rejected: UNAVAILABLE.
    """
    # An index of a large table takes minutes to build.
    database = Database(url, is_patient=True)
    try:
        for attempt in range(1, attempts + 1):
            try:
                await _attempt(database)
            except Rejected as error:
                if not _is_locked(error.__cause__):
                    raise
                if attempt == attempts:
                    raise SchemaError(_still_held(database, error.__cause__)) from error
            else:
                return
            await asyncio.sleep(_PAUSE_SECONDS)
    finally:
        await database.close()


async def ensure_schema(database: Database) -> None:
    """Upgrades SQLite's schema to ``HEAD``; PostgreSQL's, which several releases may share, must be
    there. Either may be of a newer release, if that says that this one can work with it.

    Raises:
        SettingsError: the schema is older than this release.
        SchemaError: it is of a newer version that this one cannot work with.
        Rejected: UNAVAILABLE.
    """
    if database.is_sqlite:
        await migrate(database.url)
    schema = await current_schema(database)
    if not _suits(schema):
        raise SettingsError(
            f"FORMFLOW_DATABASE_URL: the schema is at version {schema.revision or 'none'}, this "
            f"release needs {HEAD}: run `formflow migrate`"
        )
    if schema.is_newer:
        get_logger("backend").info(
            "the schema is of a newer release, and suits this one",
            revision=schema.revision,
            own_revision=HEAD,
        )


async def current_schema(database: Database) -> Schema:
    """What the database says of its schema. Raises Rejected(UNAVAILABLE)."""
    async with database.read() as connection:
        return await _schema_of(connection)


async def current_revision(database: Database) -> str | None:
    """The revision of the database's schema; None if it is empty. Raises Rejected(UNAVAILABLE)."""
    return (await current_schema(database)).revision


async def _schema_of(connection: AsyncConnection) -> Schema:
    tables = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
    revision = floor = None
    if "alembic_version" in tables:
        found = await connection.execute(text("SELECT version_num FROM alembic_version"))
        revision = found.scalar()
    if schema_floor.name in tables:
        floor = (await connection.execute(select(schema_floor.c.revision))).scalar()
    return Schema(revision, floor)


def _suits(schema: Schema) -> bool:
    """Whether this release can work with the schema as it is; False if it must be upgraded first.

    Raises:
        SchemaError: it can neither be worked with nor upgraded.
    """
    if schema.is_newer and not schema.is_usable:
        raise SchemaError(
            f"The database is of a newer version of FormFlow: its schema {schema.revision} needs "
            f"at least the version that brought schema {schema.floor or schema.revision}, and "
            f"this one brings {HEAD}. Run that version, or restore a backup made before it."
        )
    return schema.is_usable


async def _attempt(database: Database) -> None:
    # Most starts find everything done, and need no lock for that.
    if _suits(await current_schema(database)):
        return
    async with database.write() as connection:
        if not database.is_sqlite:
            await connection.execute(text(f"SET LOCAL lock_timeout = {_TURN_MS}"))
            await connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK_ID})"))
            await connection.execute(text(f"SET LOCAL lock_timeout = {_TABLE_MS}"))
        # Another process may have had its turn meanwhile.
        if not _suits(await _schema_of(connection)):
            await connection.run_sync(_upgrade)


def _is_locked(error: BaseException | None) -> bool:
    """Whether others held what was needed: not for ever, as a rule."""
    cause = getattr(error, "orig", None)
    is_busy = getattr(cause, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
    return is_busy or getattr(cause, "sqlstate", None) in _LOCKED


def _still_held(database: Database, error: BaseException | None) -> str:
    held = "the database" if database.is_sqlite else "its tables"
    return (
        f"The schema was not brought to {HEAD}, and nothing was changed: others held {held} at "
        f"each attempt ({getattr(error, 'orig', error)}). A backup, a long query or another "
        "migration may be under way: run `formflow migrate` again when it has ended."
    )


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
