"""``python -m loadtests [SCENARIO …]`` and ``python -m loadtests report FILE``."""

import argparse
import sys
from pathlib import Path

from loadtests.command import CannotRun, Options, run, show
from loadtests.results import Results
from loadtests.scenarios import BASIC, SCENARIOS


def main(arguments: list[str]) -> int:
    """Runs the command; returns the exit status."""
    return _report(arguments[1:]) if arguments[:1] == ["report"] else _run(arguments)


def _run(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m loadtests",
        description="Measures FormFlow over HTTP. `report FILE` shows kept results again.",
        epilog=f"Scenarios: {', '.join(SCENARIOS)}; all.",
    )
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"{', '.join(BASIC)}")
    parser.add_argument("--peers", action="store_true", help="FormFlow beside what else there is")
    parser.add_argument("--seconds", type=float, default=6.0, help="of each load")
    parser.add_argument("--repeat", type=int, help="repetitions, interleaved; medians are shown")
    parser.add_argument("--driver", choices=("auto", "wrk", "own"), default="auto")
    parser.add_argument("--postgres", metavar="URL", help="use new databases of this server")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of `management`, `console`")
    parser.add_argument("--directory", type=Path, help="where data is kept during the runs")
    parser.add_argument("--json", type=Path, help="also write every run to this file")
    parser.add_argument("--chart", type=Path, help="also draw the comparison (SVG)")
    options = vars(parser.parse_args(arguments))
    try:
        return run(Options(tuple(options.pop("scenarios")) or BASIC, **options))
    except CannotRun as error:
        parser.error(str(error))


def _report(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests report")
    parser.add_argument("file", type=Path, help="what --json wrote")
    parser.add_argument("--chart", type=Path, help="also draw the comparison (SVG)")
    parser.add_argument("--markdown", action="store_true", help="tables for a README")
    options = parser.parse_args(arguments)
    show(Results.read(options.file), options.chart, as_markdown=options.markdown)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
