"""``formflow leases``: quota that gateways hold, and taking it back from one that is lost.

Works on the database itself: it is for whoever runs the server, not for an account.
"""

import asyncio
from dataclasses import asdict
from typing import Annotated

import typer

from contracts.runtime.clock import iso
from contracts.runtime.settings import load_settings
from formflow.commands import confirm
from formflow.options import AsJson, Config, Data, Yes
from formflow.output import print_json, print_table

app = typer.Typer(no_args_is_help=True, help="Quota that gateways hold for an outage.")


@app.command("list")
def list_holders(config: Config = None, data: Data = None, as_json: AsJson = False) -> None:
    """List the gateways that hold quota, longest unseen first."""
    from formflow.held_quota import holders

    found = asyncio.run(holders(load_settings(config, data_dir=data)))
    rows = [asdict(holding) | {"seen_at": iso(holding.seen_at)} for holding in found]
    if as_json:
        print_json(rows)
    else:
        print_table(rows, ("holder", "seen_at", "units"))


@app.command("write-off")
def write_off(
    holder: Annotated[str, typer.Argument(help="The gateway, as formflow leases list has it.")],
    config: Config = None,
    data: Data = None,
    is_confirmed: Yes = False,
) -> None:
    """Free the quota of a gateway whose disk is lost."""
    from formflow import held_quota

    settings = load_settings(config, data_dir=data)
    confirm(
        f"Is {holder} lost for good? What it has spooled would be stored above the quota.",
        is_confirmed,
    )
    typer.echo(f"{asyncio.run(held_quota.write_off(settings, holder))} units are free again.")
