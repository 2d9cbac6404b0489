"""``formflow sign-in``: a link for whoever runs the server, by the database itself.

It needs no mail and no key: whoever may read the data directory may sign in as anybody anyway.
"""

import asyncio
from typing import Annotated

import typer

from contracts.runtime.clock import SystemClock
from contracts.runtime.settings import Settings, load_settings
from formflow.client import CommandError
from formflow.kept_origin import with_kept_origin
from formflow.options import AsJson, Config, Data
from formflow.output import print_json


def sign_in(
    email: Annotated[
        str | None,
        typer.Argument(help="The member's address; by default the first owner's."),
    ] = None,
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Print a link that signs a member in: once, within a quarter of an hour."""
    settings = with_kept_origin(load_settings(config, data_dir=data))
    url = asyncio.run(_link(settings, email))
    if url is None:
        raise CommandError(
            f"there is no member {email}: formflow members list shows who is"
            if email
            else "there is no owner yet: formflow up makes the first one"
        )
    if as_json:
        print_json({"sign_in_url": url})
    else:
        typer.echo(url)


async def _link(settings: Settings, email: str | None) -> str | None:
    from backend.db import Database
    from backend.schema import ensure_schema
    from backend.services import create_services

    database = Database(settings.sqlalchemy_url())
    try:
        await ensure_schema(database)
        services = create_services(settings, SystemClock(), database)
        return await services.sign_in.make_link(email)
    finally:
        await database.close()
