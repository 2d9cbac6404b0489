"""Two releases work together on one database; a migration is whole or not at all."""

import asyncio
import signal
from pathlib import Path

import pytest
from sqlalchemy import inspect

from backend.db import Database
from backend.schema import HEAD, current_schema
from contracts.runtime.settings import load_settings
from tests.faults.releases import MARK, Release, next_release, this_release
from tests.faults.upgrade import Plan, run_upgrade

SEED = 20261121


def test_an_upgrade_under_load_and_back_loses_and_fails_nothing(
    tmp_path: Path, database_url: str
) -> None:
    plan = Plan(this_release(), next_release(tmp_path / "next"), database_url, SEED)
    outcome = asyncio.run(run_upgrade(tmp_path / "fleet", plan))
    # Posts are queued while a backend restarts.
    assert set(outcome.statuses) <= {200, 202}
    assert outcome.statuses[200] > 200
    assert outcome.lost == []
    assert outcome.verdict.is_clean, f"{SEED}: {outcome.verdict}"
    assert outcome.verdict.acknowledged > 50
    assert set(outcome.exits) == {0}
    # Each release has written, to the table that only one of them knows whole.
    assert outcome.marked[MARK] > 0
    assert outcome.marked[None] > 0


@pytest.mark.parametrize("point", ["column", "index"])
def test_a_migration_that_is_killed_in_the_middle_changes_nothing_and_is_repeated(
    tmp_path: Path, database_url: str, point: str
) -> None:
    release = next_release(tmp_path / "next")
    killed = release.run("migrate", DATABASE_URL=database_url, crash_at=point)
    assert killed.returncode == -signal.SIGKILL
    assert asyncio.run(described(database_url)) == (HEAD, False)
    migrate_as(release, database_url)
    assert asyncio.run(described(database_url)) == (release.revision, True)


def test_a_migration_that_commits_in_between_is_found_out(
    tmp_path: Path, database_url: str
) -> None:
    release = next_release(tmp_path / "next", between='op.execute("COMMIT")')
    release.run("migrate", DATABASE_URL=database_url, crash_at="column")
    assert asyncio.run(described(database_url)) == (HEAD, True)


def test_a_release_refuses_a_schema_that_has_left_it_behind(
    tmp_path: Path, database_url: str
) -> None:
    raised = f"""op.execute("UPDATE schema_floor SET revision = '{revision_after(HEAD)}'")"""
    release = next_release(tmp_path / "next", between=raised)
    migrate_as(release, database_url)
    refused = this_release().run(
        "backend",
        DATABASE_URL=database_url,
        DATA_DIR=str(tmp_path / "data"),
        INTERNAL_TOKEN="an-internal-token-for-tests",
        SECRET_KEY="a-secret-key-for-tests",
        PORT="0",
    )
    assert refused.returncode != 0
    assert "newer version of FormFlow" in refused.stderr
    assert "Traceback" not in refused.stderr


def migrate_as(release: Release, database_url: str) -> None:
    """``formflow migrate`` of that release, which succeeds."""
    migrated = release.run("migrate", DATABASE_URL=database_url)
    assert migrated.returncode == 0, migrated.stderr


def revision_after(revision: str) -> str:
    """The next one."""
    return f"{int(revision) + 1:04}"


async def described(database_url: str) -> tuple[str | None, bool]:
    """The database's revision, and whether submissions have the later release's column."""
    database = Database(load_settings(environ={}, database_url=database_url).sqlalchemy_url())
    try:
        revision = (await current_schema(database)).revision
        async with database.read() as connection:
            columns = await connection.run_sync(
                lambda sync: inspect(sync).get_columns("submissions")
            )
        return revision, any(column["name"] == "release" for column in columns)
    finally:
        await database.close()
