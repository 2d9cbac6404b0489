"""A PostgreSQL database for one run."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from loadtests.stores import run


@contextmanager
def database_of_its_own(server: str | None) -> Iterator[str | None]:
    """The URL of a new database on the server, which is dropped in the end; None without one.

    ``server`` is the URL of a database whose user may create others.
    """
    if server is None:
        yield None
        return
    name = f"formflow_load_{secrets.token_hex(4)}"
    run(_execute(server, f"CREATE DATABASE {name}"))
    try:
        yield urlsplit(server)._replace(path=f"/{name}").geturl()
    finally:
        run(_execute(server, f"DROP DATABASE {name} WITH (FORCE)"))


async def _execute(url: str, statement: str) -> None:
    import asyncpg

    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
