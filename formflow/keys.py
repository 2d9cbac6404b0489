"""``formflow keys``: API keys."""

from typing import Annotated

import typer

from formflow.client import Target, with_client
from formflow.options import AsJson, Config, Data, Key, Url, print_json, print_table

app = typer.Typer(no_args_is_help=True)
_COLUMNS = ("id", "name", "kind", "prefix", "status", "created_at")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    kind: Annotated[str, typer.Option(help="submission or management.")] = "submission",
    url: Url = None,
    key: Key = None,
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Create a key; it is shown this once."""
    body = {"name": name, "kind": kind}
    made = with_client(
        Target(url, key, config, data),
        lambda client: client.call("POST", "/v1/api-keys", json=body),
    )
    if as_json:
        print_json(made)
    else:
        typer.echo(made["key"])


@app.command(name="list")
def list_keys(
    url: Url = None,
    key: Key = None,
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List the keys."""
    keys = with_client(Target(url, key, config, data), lambda client: client.all("/v1/api-keys"))
    if as_json:
        print_json(keys)
    else:
        print_table(keys, _COLUMNS)


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id, key_…")],
    url: Url = None,
    key: Key = None,
    config: Config = None,
    data: Data = None,
) -> None:
    """Revoke a key: it is refused everywhere from now on."""
    with_client(
        Target(url, key, config, data),
        lambda client: client.call("DELETE", f"/v1/api-keys/{key_id}"),
    )
    typer.echo(f"{key_id} is revoked.")
