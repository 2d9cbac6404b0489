"""``make bench``: posts per second, latency, and the CPU each process spends a post.

A run whose stored rows do not match its acknowledged posts has no speed: it fails.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table

from loadtests.product import Product, running_product

_SCRIPT = Path(__file__).with_name("post.lua")
_SCENARIOS = {"lone": 1, "burst-64": 64, "burst-256": 256}


@dataclass(frozen=True)
class Result:
    """One run of one scenario; CPU in microseconds of each process for an acknowledged post."""

    scenario: str
    posts_per_second: float
    p50_ms: float
    p99_ms: float
    gateway_us: float
    backend_us: float
    acknowledged: int


class RunFailed(Exception):
    """The run says nothing about speed; the message says why."""


def measure(product: Product, scenario: str, seconds: int) -> Result:
    """Runs ``wrk`` with the scenario's connections, closed loop. Raises RunFailed."""
    connections = _SCENARIOS[scenario]
    stored, cpu = product.stored(), product.cpu_seconds()
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(_SCRIPT)]
    done = subprocess.run(
        [*command, f"{product.url}/v1/f/demo"], capture_output=True, text=True, check=True
    )
    spent = {name: used - cpu[name] for name, used in product.cpu_seconds().items()}
    told = orjson.loads(done.stdout.partition("RESULT ")[2].splitlines()[0])
    acknowledged = told["requests"]
    if told["refused"] or told["broken"]:
        raise RunFailed(f"{scenario}: {told['refused']} refused, {told['broken']} broken")
    # wrk drops what is under way at the end: stored, but not acknowledged to it.
    rows = product.stored() - stored
    if not acknowledged <= rows <= acknowledged + connections:
        raise RunFailed(f"{scenario}: {acknowledged} acknowledged, {rows} stored")
    return Result(
        scenario,
        acknowledged / told["seconds"],
        told["p50_ms"],
        told["p99_ms"],
        spent["gateway"] / acknowledged * 1e6,
        spent["backend"] / acknowledged * 1e6,
        acknowledged,
    )


def table_of(results: list[Result]) -> Table:
    """The results as a table for a terminal."""
    table = Table(
        "scenario", "posts/s", "p50 ms", "p99 ms", "gateway µs", "backend µs", "rows = posts"
    )
    for result in results:
        table.add_row(
            result.scenario,
            f"{result.posts_per_second:,.0f}",
            f"{result.p50_ms:.2f}",
            f"{result.p99_ms:.2f}",
            f"{result.gateway_us:.0f}",
            f"{result.backend_us:.0f}",
            f"{result.acknowledged:,}",
        )
    return table


def main() -> None:
    """Runs the scenarios in turn, each on a product of its own."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("scenario", nargs="?", choices=_SCENARIOS, help="one instead of all")
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("the load comes from wrk, which this machine lacks (Debian: apt-get install wrk)")
    results = []
    with Console(stderr=True).status("measuring") as status:
        for scenario in [options.scenario] if options.scenario else _SCENARIOS:
            status.update(f"measuring {scenario}")
            with (
                tempfile.TemporaryDirectory(prefix="formflow-bench-") as directory,
                running_product(Path(directory) / "data") as product,
            ):
                results.append(measure(product, scenario, options.seconds))
    Console().print(table_of(results))
    if options.json:
        options.json.write_bytes(orjson.dumps([asdict(result) for result in results]))


if __name__ == "__main__":
    try:
        main()
    except RunFailed as failed:
        sys.exit(f"no result: {failed}")
