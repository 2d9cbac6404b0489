"""What the management commands print: JSON for programs, tables for people.

Submissions hold what strangers typed: nothing of it may steer a terminal.
"""

import sys
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
)
from rich.table import Table
from rich.text import Text

# A table that goes to a file or a pipe is never cut.
_WIDTH_OF_PIPES = 100_000


def print_json(value: Any) -> None:
    """One line of JSON."""
    sys.stdout.write(orjson.dumps(value).decode() + "\n")


def print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """A line for each row, with these members (``actor.name`` is one of a member); cut to the width
    of the terminal, if it is one."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        # Ids are there to be copied: the others give way.
        table.add_column(column, no_wrap=column == "id" or column.endswith("_id"))
    for row in rows:
        members = {**row, **dict(_flat(row))}
        table.add_row(*(_line(members.get(column)) for column in columns))
    _console().print(table)


def print_record(document: Mapping[str, Any]) -> None:
    """A line for each member."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _flat(document):
        table.add_row(Text(_plain(name)), Text(shown(value)))
    _console().print(table)


def progress_bar(*, is_counted: bool) -> Progress:
    """A bar on stderr where that is a terminal, or, of what nobody can say the end, the bytes so
    far; else nothing is shown."""
    end: list[ProgressColumn] = (
        [BarColumn(), TaskProgressColumn()] if is_counted else [DownloadColumn()]
    )
    console = Console(stderr=True)
    columns = [SpinnerColumn(), TextColumn("{task.description}"), *end]
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def shown(value: Any) -> str:
    """A member as people read it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and not any(isinstance(item, dict | list) for item in value):
        return ", ".join(shown(item) for item in value)
    if isinstance(value, dict | list):
        return _plain(orjson.dumps(value).decode())
    return _plain(str(value))


def _line(value: Any) -> Text:
    """A member in one line, which ends in an ellipsis where it does not fit."""
    return Text(shown(value).replace("\n", " "), no_wrap=True, overflow="ellipsis")


def _plain(text: str) -> str:
    """The text without what a terminal would obey, or show in another order than it is."""
    return "".join(
        character if character == "\n" or unicodedata.category(character)[0] != "C" else "\ufffd"
        for character in text
    )


def _flat(document: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    lines: list[tuple[str, Any]] = []
    for name, value in document.items():
        if isinstance(value, dict) and value:
            lines += _flat(value, f"{prefix}{name}.")
        else:
            lines.append((prefix + name, value))
    return lines


def _console() -> Console:
    is_terminal = sys.stdout.isatty()
    return Console(width=None if is_terminal else _WIDTH_OF_PIPES, highlight=False)
