"""Results as tables, for a terminal or as Markdown: the medians of the repetitions."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from rich import box
from rich.console import Console
from rich.table import Table as RichTable

from loadtests.results import Results, Run, medians

_UNITS = {"_per_second": "/s", "_us": " µs", "_ms": " ms", "_mb": " MB", "_kb": " KB"}
_RATIOS = {"posts_per_second": "speed ×", "total_us": "CPU ×"}
_BASE = "burst-64"
_FIRST = ("posts_per_second", "speed ×")
_LAST = ("total_us", "CPU ×", "generator_us", "late_p99_ms", "acknowledged")
_WIDTH = 200
_CHECKED = [
    "In every run shown the rows stored were the posts acknowledged. "
    "× is to burst-64, or the first row."
]


@dataclass(frozen=True)
class Table:
    """Text in rows and columns; the first ``labels`` columns are names, the others numbers."""

    title: str
    labels: int
    header: list[str]
    rows: list[list[str]]


def tables_of(results: Results) -> list[Table]:
    """A table for each kind of run; for each scenario, where several targets are compared."""
    runs = medians(results.runs)
    is_comparison = len({run.target for run in runs if run.kind == "closed loop"}) > 1
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.scenario if is_comparison else run.kind, []).append(run)
    return [_table(title, group) for title, group in groups.items()]


def remarks_of(results: Results) -> list[str]:
    """What belongs under the tables: the machine, what stores say of themselves, failures."""
    counts = Counter(run.subject for run in results.runs).values()
    told = {run.target: _listed(run.notes) for run in medians(results.runs) if run.notes}
    return [
        _listed(results.machine),
        _repetitions(min(counts, default=0), max(counts, default=0)),
        *_CHECKED[: any("acknowledged" in run.figures for run in results.runs)],
        *(f"{target}: {notes}" for target, notes in told.items()),
        *(f"FAILED {failure}" for failure in results.failures),
    ]


def _repetitions(fewest: int, most: int) -> str:
    if most < 2:
        return "One run each."
    return f"Medians of {most} runs." if fewest == most else f"Medians of {fewest} to {most} runs."


def print_tables(results: Results) -> None:
    """Prints them to the terminal, or wide enough for a file."""
    console = Console()
    console = console if console.is_terminal else Console(width=_WIDTH)
    for table in tables_of(results):
        rich_table = RichTable(title=table.title, title_justify="left", box=box.SIMPLE_HEAD)
        for n, name in enumerate(table.header):
            is_label = n < table.labels
            rich_table.add_column(
                name, justify="left" if is_label else "right", no_wrap=is_label, overflow="fold"
            )
        for row in table.rows:
            rich_table.add_row(*row)
        console.print(rich_table)
    for remark in remarks_of(results):
        console.print(remark, style="dim", highlight=False, markup=False)


def markdown(results: Results) -> str:
    """The tables and remarks as Markdown."""
    lines: list[str] = []
    for table in tables_of(results):
        rules = ["---"] * table.labels + ["--:"] * (len(table.header) - table.labels)
        lines += [f"**{table.title}**", "", _row(table.header), _row(rules)]
        lines += [*map(_row, table.rows), ""]
    return "\n".join([*lines, *(f"- {remark}" for remark in remarks_of(results))]) + "\n"


def _table(title: str, runs: Sequence[Run]) -> Table:
    labels = [
        name
        for name in ("scenario", "case", "target")
        if len({getattr(run, name) for run in runs}) > 1 or (name == "scenario" and len(runs) == 1)
    ]
    if len(runs) > 1:
        base = next((run for run in runs if run.scenario == _BASE), runs[0])
        runs = [_beside(base, run) for run in runs]
    names = _shown(runs)
    header = [*labels, *map(heading, names)]
    rows = [
        [*(getattr(run, label) for label in labels), *(number(run.figures.get(n)) for n in names)]
        for run in runs
    ]
    return Table(title, len(labels), header, rows)


def _beside(base: Run, run: Run) -> Run:
    """The run with its speed and its CPU relative to another one's, where they have both."""
    ratios = {
        name: run.figures[figure] / base.figures[figure]
        for figure, name in _RATIOS.items()
        if run.figures.get(figure) and base.figures.get(figure)
    }
    return replace(run, figures=run.figures | ratios)


def _shown(runs: Iterable[Run]) -> list[str]:
    """The figures of a table, in order. Memory at the end of a load is kept in the JSON only."""
    names = dict.fromkeys(name for run in runs for name in run.figures)
    shown = [name for name in names if not name.endswith("_mb") or "growth" in name]
    return sorted(shown, key=_place)


def _place(name: str) -> int:
    if name in _FIRST:
        return _FIRST.index(name) - len(_FIRST)
    return _LAST.index(name) + 1 if name in _LAST else 0


def heading(name: str) -> str:
    """A figure's name for a reader, with its unit."""
    for suffix, unit in _UNITS.items():
        if name.endswith(suffix):
            return name.removesuffix(suffix).replace("_", " ") + unit
    return name.replace("_", " ")


def number(value: float | None) -> str:
    """Three significant figures or so; a dash for what was not measured."""
    if value is None:
        return "–"
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _listed(facts: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in facts.items())


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
