"""``python -m tests.faults torture [NAME …]``: the long set or the short one, as a table and JSON.

The long set fails unless every figure is met. The short one, of which each run of CI is one, fails
unless every promise is kept: how fast a machine is that somebody else is using, too, says nothing.
"""

import argparse
import asyncio
import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.faults.figure import CannotRun, Figure, Size, directory_for
from tests.faults.figures import RUNS, SHORT

_SEED = 20261120


def main(arguments: Sequence[str]) -> int:
    """Runs the command; the exit status is 1 if a figure was not met, or a promise not kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("command", choices=["torture"])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(RUNS)}; all if none")
    parser.add_argument("--short", action="store_true", help=f"in short: {', '.join(SHORT)}")
    parser.add_argument("--cycles", type=int, help="instead of the number of a release")
    parser.add_argument("--seconds", type=float, help="instead of the time of a release")
    parser.add_argument("--seed", type=int, default=_SEED, help="to repeat a run")
    parser.add_argument("--json", type=Path, default=Path("torture.json"), metavar="FILE")
    options = parser.parse_intermixed_args(arguments)
    unknown = set(options.names) - RUNS.keys()
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(RUNS)}")
    console = Console()
    size = Size(options.seed, options.cycles, options.seconds, options.short)
    figures = [
        figure
        for name in options.names or (SHORT if options.short else RUNS)
        if (figure := _run(name, size, console)) is not None
    ]
    _print(figures, console)
    _write(figures, size, options.json)
    is_good = [figure.is_kept if options.short else figure.is_met for figure in figures]
    return 0 if all(is_good) else 1


def _run(name: str, size: Size, console: Console) -> Figure | None:
    started = time.monotonic()
    with directory_for(name) as directory:
        try:
            figure = asyncio.run(_as_figure(name, directory, size))
        except CannotRun as reason:
            console.print(f"{name}: skipped: {reason}")
            return None
    took = time.monotonic() - started
    console.print(f"{name}: seed {size.seed}, {took:.0f} s, {_verdict(figure)}")
    for note in figure.notes[:10]:
        console.print(f"  {note}", markup=False, highlight=False)
    return figure


async def _as_figure(name: str, directory: Path, size: Size) -> Figure:
    return await RUNS[name](directory, size)


def _print(figures: Sequence[Figure], console: Console) -> None:
    table = Table("figure", "what", "size", "aim", "found", "met")
    for figure in figures:
        found = ", ".join(f"{name} {value}" for name, value in figure.found.items())
        row = (figure.number, figure.what, figure.size, figure.aim, found, _verdict(figure))
        table.add_row(*row)
    console.print(table, markup=False)


def _verdict(figure: Figure) -> str:
    if figure.is_met:
        return "met"
    return "too slow" if figure.is_kept else "BROKEN"


def _write(figures: Sequence[Figure], size: Size, path: Path) -> None:
    document = {
        "seed": size.seed,
        "figures": [dataclasses.asdict(figure) | {"is_met": figure.is_met} for figure in figures],
    }
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
