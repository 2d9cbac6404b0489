"""``formflow forms``: forms."""

from typing import Annotated, Any

import typer

from formflow.client import Target, with_client
from formflow.options import AsJson, Config, Data, Key, Url, print_json, print_table

app = typer.Typer(no_args_is_help=True)
_COLUMNS = ("id", "slug", "name", "status", "created_at")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="The form's name.")],
    slug: Annotated[str | None, typer.Option(help="Its slug; made of the name otherwise.")] = None,
    redirect_url: Annotated[str | None, typer.Option(help="Where browsers go next.")] = None,
    url: Url = None,
    key: Key = None,
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Create a form; prints its slug."""
    body: dict[str, Any] = {"name": name}
    body |= {"slug": slug} if slug else {}
    body |= {"redirect_url": redirect_url} if redirect_url else {}
    form = with_client(
        Target(url, key, config, data), lambda client: client.call("POST", "/v1/forms", json=body)
    )
    if as_json:
        print_json(form)
    else:
        typer.echo(form["slug"])


@app.command(name="list")
def list_forms(
    url: Url = None,
    key: Key = None,
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List the forms."""
    forms = with_client(Target(url, key, config, data), lambda client: client.all("/v1/forms"))
    if as_json:
        print_json(forms)
    else:
        print_table(forms, _COLUMNS)
