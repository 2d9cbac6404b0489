"""Tables for people: nothing in them steers a terminal, nothing is lost in a pipe."""

import pytest

from formflow.output import print_record, print_table, shown


def test_what_a_visitor_typed_cannot_steer_a_terminal() -> None:
    assert shown("\x1b[31mred\x07 \u202etxt.exe [bold]x[/bold]") == (
        "\ufffd[31mred\ufffd \ufffdtxt.exe [bold]x[/bold]"
    )
    assert shown({"a\x1b": "\x9b"}).isprintable()


def test_a_pipe_gets_every_character_and_no_colour(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(
        [{"id": "x" * 300, "name": "[red]n[/red]\nm", "tags": ["a", "b"]}], ("id", "name", "tags")
    )
    [head, row] = capsys.readouterr().out.splitlines()
    assert head.split() == ["id", "name", "tags"]
    assert row.split() == ["x" * 300, "[red]n[/red]", "m", "a,", "b"]


def test_a_document_is_shown_member_by_member(capsys: pytest.CaptureFixture[str]) -> None:
    print_record(
        {"id": "1", "quota": {"used": 0, "limit": None}, "is_on": True, "rows": [{"a": 1}]}
    )
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        ["id", "1"],
        ["quota.used", "0"],
        ["quota.limit"],
        ["is_on", "yes"],
        ["rows", '[{"a":1}]'],
    ]
