"""FormFlow under test: ``formflow up`` on an empty database, whose limits stop nobody."""

import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from contracts.runtime.settings import child_environment
from loadtests.management import Management
from loadtests.postgres import database_of_its_own
from loadtests.stores import PostgresStore, SqliteStore
from loadtests.targets import Store, Target

DEMO_PATH = "/v1/f/demo"
_START_SECONDS = 60.0
# A key's limit comes from its account's plan: one that a benchmark does not reach.
_PLANS = "[load]\nfile_megabytes = 25\nrequests_per_minute = 100_000_000\n"


@dataclass(frozen=True)
class Product:
    """A running product. ``processes`` has the roles ``gateway`` and ``backend``; the link to sign
    in is the owner's and works once."""

    origin: str
    data_dir: Path
    management: Management
    processes: dict[str, tuple[int, ...]]
    store: Store
    backend_url: str
    sign_in_url: str

    def target(self, path: str = DEMO_PATH) -> Target:
        """What to post to."""
        return Target("FormFlow", self.origin, path, self.processes, self.store)


@contextmanager
def running_product(
    directory: Path, postgres: str | None = None, **settings: str
) -> Iterator[Product]:
    """A started product that keeps its data below the directory, or with ``postgres``, the URL of a
    server, in a new database there."""
    with database_of_its_own(postgres) as database_url:
        environment = environment_for(directory, database_url, **settings)
        if database_url is not None:
            migrate(environment)
        command = [sys.executable, "-m", "formflow", "up", "--json", "--port", "0"]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
        try:
            yield _product(process, directory / "data", database_url)
        finally:
            stop(process)


def environment_for(directory: Path, database_url: str | None, **settings: str) -> dict[str, str]:
    """The environment of a product below the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    plans = directory / "plans.toml"
    plans.write_text(_PLANS)
    defaults = {
        "data_dir": str(directory / "data"),
        "default_plan": "load",
        "plans_file": str(plans),
        "trusted_proxies": "127.0.0.1/32",
        "log_level": "error",
    }
    if database_url is not None:
        defaults["database_url"] = database_url
    return child_environment(**defaults | settings)


def migrate(environment: dict[str, str]) -> None:
    """Makes the schema, which only ``formflow up`` on SQLite does by itself."""
    command = [sys.executable, "-m", "formflow", "migrate"]
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)


def store_of(data_dir: Path, database_url: str | None, backend_url: str | None = None) -> Store:
    """Where a product's submissions are to be counted."""
    if database_url is not None:
        return PostgresStore(database_url)
    return SqliteStore(data_dir / "formflow.db", backend_url)


def stop(process: "subprocess.Popen[bytes]") -> None:
    """Ends a process in good order."""
    process.terminate()
    process.wait(60)
    if process.stdout is not None:
        process.stdout.close()


def first_line(process: "subprocess.Popen[bytes]") -> bytes:
    """The first line that a started process prints. Raises RuntimeError if there is none."""
    if process.stdout is not None:
        readable, _, _ = select.select([process.stdout], [], [], _START_SECONDS)
        if readable and (line := process.stdout.readline()):
            return line
    raise RuntimeError("formflow up did not start; stderr says why")


def _product(
    process: "subprocess.Popen[bytes]", data_dir: Path, database_url: str | None
) -> Product:
    first: dict[str, Any] = orjson.loads(first_line(process))
    management = Management(first["url"], first["management_key"])
    management.open_form(first["demo_form_id"])
    store = store_of(data_dir, database_url, first["backend_url"])
    return Product(
        first["url"],
        data_dir,
        management,
        _children(process.pid),
        store,
        first["backend_url"],
        first["sign_in_url"],
    )


def _children(pid: int) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {"gateway": (), "backend": ()}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        arguments = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        found["gateway" if b"gateway" in arguments else "backend"] += (int(child),)
    return found
