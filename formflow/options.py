"""Options and output that the management commands share."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

Url = Annotated[
    str | None,
    typer.Option("--url", help="A running product; without it the data directory is used."),
]
Key = Annotated[str | None, typer.Option("--key", help="A management key, with --url.")]
Config = Annotated[Path | None, typer.Option("--config", help="A TOML file of settings.")]
Data = Annotated[Path | None, typer.Option("--data", help="The data directory.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def print_json(value: Any) -> None:
    """One line of JSON."""
    typer.echo(orjson.dumps(value).decode())


def print_table(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
    """A table of these members."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(str(row[column] if row[column] is not None else "") for column in columns))
    Console().print(table)
