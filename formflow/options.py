"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="FORMFLOW_URL",
        help="A running product; without it the data directory is used.",
    ),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key", envvar="FORMFLOW_KEY", show_envvar=True, help="A management key, with --url."
    ),
]
Config = Annotated[
    Path | None, typer.Option("--config", help="A TOML file of settings.", show_default=False)
]
Data = Annotated[Path | None, typer.Option("--data", help="The data directory.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
