"""Releases of the product beside each other: this tree, one after it, and one before it."""

import io
import re
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

from backend.schema import HEAD
from contracts import VERSION
from tests.faults.fleet import FaultyFleet
from tests.support.processes import clean_environment

ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = ("backend", "contracts", "formflow", "gateway")
_NEXT_REVISION = f"{int(HEAD) + 1:04}"
_NEXT_VERSION = f"{VERSION}.next"
_FORMER_VERSION = f"{VERSION}.former"
_SECONDS = 60.0

# Not code of this module: the migration that the release after this tree brings. It dies where the
# environment says so.
_MIGRATION = """
import os
import signal

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{head}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("submissions", sa.Column("release", sa.Text()))
    {between}
    die_at("column")
    op.create_index("ix_submissions_release", "submissions", ["release"])
    die_at("index")


def die_at(point: str) -> None:
    if os.environ.get("CRASH_AT") == point:
        os.kill(os.getpid(), signal.SIGKILL)
"""
# What its submissions have in the column that the release before it does not know.
MARK = "next"
_COLUMN = f"""

from sqlalchemy import literal_column

submissions.append_column(Column("release", Text, default=literal_column("'{MARK}'")))
Index("ix_submissions_release", submissions.c.release)
"""


@dataclass(frozen=True, slots=True)
class Release:
    """The packages in a directory, and what they call themselves. ``revision`` is the schema's."""

    directory: Path
    version: str
    revision: str

    @property
    def heeds_the_floor(self) -> bool:
        """Whether it starts with a newer schema that permits it."""
        return "schema_floor" in (self.directory / "backend" / "schema.py").read_text()

    @property
    def command(self) -> list[str]:
        """What runs ``formflow`` of whatever release the environment names: the directory that the
        process is started in has no say."""
        return [sys.executable, "-P", "-m", "formflow"]

    @property
    def environment(self) -> dict[str, str]:
        """What puts this release before the one that is installed."""
        return {"PYTHONPATH": str(self.directory)}

    def assign(self, fleet: FaultyFleet, name: str) -> None:
        """Makes the process of that name one of this release, from its next start on."""
        fleet.commands[name] = self.command
        fleet.environments[name] = self.environment

    def run(
        self, *arguments: str, crash_at: str = "", **settings: str
    ) -> subprocess.CompletedProcess[str]:
        """One call of its ``formflow`` command; a migration dies at that point, if there is one."""
        return subprocess.run(
            [*self.command, *arguments],
            env=clean_environment(**settings) | self.environment | {"CRASH_AT": crash_at},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )


def this_release() -> Release:
    """The tree as it is."""
    return Release(ROOT, VERSION, HEAD)


def next_release(directory: Path, between: str = "") -> Release:
    """The tree with a migration more, and code that writes the column that it adds. ``between`` is
    a statement between the parts of the migration, which by itself only adds."""
    for package in _PACKAGES:
        # With the compiled files, which stay valid.
        shutil.copytree(ROOT / package, directory / package)
    _replace(directory / "contracts" / "__init__.py", VERSION, _NEXT_VERSION)
    _replace(directory / "backend" / "schema.py", f'"{HEAD}"', f'"{_NEXT_REVISION}"')
    with (directory / "backend" / "tables.py").open("a") as tables:
        tables.write(_COLUMN)
    text = _MIGRATION.format(revision=_NEXT_REVISION, head=HEAD, between=between)
    versions = directory / "backend" / "migrations" / "versions"
    (versions / f"{_NEXT_REVISION}_next.py").write_text(text)
    return Release(directory, _NEXT_VERSION, _NEXT_REVISION)


def former_release(commit: str, directory: Path) -> Release:
    """The tree as it was at a commit. Raises subprocess.CalledProcessError: there is none such."""
    packed = subprocess.run(
        ["git", "archive", "--format=tar", commit, *_PACKAGES],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(directory, filter="data")
    own = directory / "contracts" / "__init__.py"
    _replace(own, _value("VERSION", own), _FORMER_VERSION)
    return Release(directory, _FORMER_VERSION, _value("HEAD", directory / "backend" / "schema.py"))


def _value(name: str, module: Path) -> str:
    """What a module assigns to a name, between quotes."""
    found = re.search(rf'^{name} = "(.+)"$', module.read_text(), re.MULTILINE)
    assert found is not None, f"{module} assigns nothing to {name}"
    return found[1]


def _replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1, f"{path} has {old} {text.count(old)} times"
    path.write_text(text.replace(old, new))
