"""The commands say nothing that the management API does not understand."""

import re

import pytest

from backend.management import OPERATIONS
from formflow import resources
from formflow.commands import Command

BY_PLACE = {
    (operation.method, re.sub(r"\{\w+\}", "{}", operation.path)): operation
    for operation in OPERATIONS
}


def commands() -> list[tuple[str, Command]]:
    return [
        (f"{name} {command.name}", command)
        for name, described in resources.DESCRIBED.items()
        for command in described
    ]


@pytest.mark.parametrize(
    "command", [pytest.param(command, id=name) for name, command in commands()]
)
def test_every_command_is_an_operation_with_such_members(command: Command) -> None:
    operation = BY_PLACE[command.method, re.sub(r"\{\w+\}", "{}", command.path)]
    model = operation.body if command.has_body else operation.query
    known = set()
    for name, field in (model.model_fields if model else {}).items():
        known.add(field.alias or name)
    sent = {taken.sent_as for taken in command.takes if not command.in_path(taken)}
    sent |= {name for name, _ in command.always}
    assert sent <= known
    if command.columns and command.is_paged:
        assert {"limit", "cursor"} <= known
    shown = {column.partition(".")[0] for column in command.columns} | (
        {command.prints} if command.prints else set()
    )
    if command.columns:
        assert operation.answer is not None
        [item] = operation.answer.model_fields["data"].annotation.__args__  # type: ignore[union-attr]
        assert shown <= set(item.model_fields)
    elif shown:
        assert operation.answer is not None
        assert shown <= set(operation.answer.model_fields)


@pytest.mark.parametrize(
    "command", [pytest.param(command, id=name) for name, command in commands()]
)
def test_what_cannot_be_undone_is_asked_first(command: Command) -> None:
    deletes = command.method == "DELETE" or command.name == "delete"
    assert deletes == (command.asks is not None)
