"""The long set: one release takes the place of another."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.faults.figure import Figure, Size
from tests.faults.postgres import PostgresqlServer
from tests.faults.releases import Release, former_release, next_release, this_release
from tests.faults.upgrade import Outcome, Plan, run_upgrade

# A commit of this repository, whose place this tree takes. Without it this tree is the older one,
# and the newer one has a migration more.
_FROM = "FORMFLOW_UPGRADE_FROM"
_KINDS = ("SQLite", "PostgreSQL")


async def upgrades(directory: Path, size: Size) -> Figure:
    """F16: there and back under load, on each database."""
    old, new = _releases(directory)
    found: dict[str, Outcome] = {}
    for kind in _KINDS:
        with _database(directory / kind, kind, old) as url:
            plan = Plan(old, new, url, size.seed, size.times(10, 1))
            found[kind] = await run_upgrade(directory / kind / "fleet", plan)
    notes = [note for kind, outcome in found.items() for note in _complaints(kind, outcome)]
    return Figure(
        "F16",
        f"upgrade from {old.version} to {new.version} under load",
        "0 failed posts, 0 lost, 0 doubled; exit 0",
        {kind: _described(outcome) for kind, outcome in found.items()},
        not notes,
        f"{plan.rounds} there and back" if plan.may_return else "1 there",
        notes,
    )


def _releases(directory: Path) -> tuple[Release, Release]:
    commit = os.environ.get(_FROM)
    if commit is None:
        return this_release(), next_release(directory / "next")
    return former_release(commit, directory / "former"), this_release()


@contextmanager
def _database(directory: Path, kind: str, release: Release) -> Iterator[str]:
    """The URL of a database that the release has migrated and nothing is in."""
    directory.mkdir()
    if kind == "SQLite":
        yield _migrated(release, f"sqlite:///{directory / 'formflow.db'}")
        return
    with closing(PostgresqlServer(directory / "server")) as server:
        yield _migrated(release, server.url)


def _migrated(release: Release, url: str) -> str:
    migrated = release.run("migrate", DATABASE_URL=url)
    if migrated.returncode != 0:
        raise RuntimeError(migrated.stderr)
    return url


def _described(outcome: Outcome) -> dict[str, object]:
    verdict = outcome.verdict
    return {
        "posts": dict(outcome.statuses),
        "of those who repeat": verdict.acknowledged,
        "lost": len(outcome.lost) + len(verdict.lost),
        "doubled": len(verdict.doubled),
        "exits": dict(outcome.exits),
        "rows by release": dict(outcome.marked),
    }


def _complaints(kind: str, outcome: Outcome) -> Iterator[str]:
    if failed := set(outcome.statuses) - {200, 202}:
        yield f"{kind}: posts failed with {sorted(failed)}"
    if outcome.lost:
        yield f"{kind}: lost {outcome.lost[:5]}"
    if not outcome.verdict.is_clean:
        yield f"{kind}: {outcome.verdict}"
    if set(outcome.exits) != {0}:
        yield f"{kind}: exits {dict(outcome.exits)}"
