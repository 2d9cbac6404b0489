"""``formflow loadtest``: measures FormFlow on this machine, alone or beside other servers."""

from pathlib import Path
from typing import Annotated

import typer

from formflow.client import CommandError

Scenarios = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SCENARIO]...", help="By default lone, burst-64 and burst-256; or all."
    ),
]
Seconds = Annotated[float, typer.Option(help="How long each load lasts.", min=1.0)]
Repeat = Annotated[
    int | None, typer.Option(help="Repetitions, interleaved; medians are shown.", min=1)
]
Json = Annotated[Path | None, typer.Option("--json", help="Also write every run to this file.")]
Chart = Annotated[Path | None, typer.Option(help="Also draw the comparison to this SVG file.")]
Peers = Annotated[bool, typer.Option("--peers", help="Run FormFlow beside what else there is.")]


def loadtest(
    scenarios: Scenarios = None,
    seconds: Seconds = 6.0,
    repeat: Repeat = None,
    json: Json = None,
    chart: Chart = None,
    peers: Peers = False,
) -> None:
    """Measure this installation; it starts products of its own and throws their data away."""
    try:
        from loadtests.command import CannotRun, Options, run
        from loadtests.scenarios import BASIC
    except ModuleNotFoundError as error:
        if error.name != "loadtests":
            raise
        raise CommandError("the load tests come with FormFlow's source only") from None
    options = Options(tuple(scenarios or BASIC), peers, seconds, repeat, json=json, chart=chart)
    try:
        raise typer.Exit(run(options))
    except CannotRun as error:
        raise CommandError(str(error)) from None
