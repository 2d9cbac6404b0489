"""Links of the OpenAPI document: what can be asked next with the ids of an answer.

A creation answers an id, a list answers those of its items; each leads to every operation that has
such an id in its path.
"""

from collections.abc import Iterable
from typing import Any

from backend.operations import Operation
from backend.resources import path_parameters, reader_of


def links_of(operation: Operation, operations: Iterable[Operation]) -> dict[str, Any]:
    """The links of its success, by name."""
    operations = tuple(operations)
    reader, pointer = reader_of(operation, operations), "$response.body#/id"
    if reader is None:
        reader, pointer = _reader_of_items(operation, operations), "$response.body#/data/0/id"
    if reader is None:
        return {}
    *_, parameter = path_parameters(reader.path)
    links = {}
    for other in operations:
        wanted = path_parameters(other.path)
        if other is not operation and parameter in wanted:
            known = {name: f"$request.path.{name}" for name in path_parameters(operation.path)}
            known[parameter] = pointer
            if known.keys() >= set(wanted):
                links[other.handler.__name__] = {
                    "operationId": other.handler.__name__,
                    "parameters": {name: known[name] for name in wanted},
                }
    if operation.answer is not None and "slug" in operation.answer.model_fields:
        links["submit"] = {
            "operationId": "submit",
            "parameters": {"slug": "$response.body#/slug"},
        }
    return links


def id_parameter_of(operation: Operation, operations: Iterable[Operation]) -> str | None:
    """The path parameter that holds the ids which ``operation`` answers."""
    operations = tuple(operations)
    reader = reader_of(operation, operations) or _reader_of_items(operation, operations)
    return path_parameters(reader.path)[-1] if reader else None


def _reader_of_items(operation: Operation, operations: tuple[Operation, ...]) -> Operation | None:
    """For an operation that answers a page: what reads one of its items."""
    if operation.answer is None or "data" not in operation.answer.model_fields:
        return None
    arguments = getattr(operation.answer.model_fields["data"].annotation, "__args__", ())
    model = arguments[0] if arguments else None
    for other in operations:
        is_reader = other.method == "GET" and other.path.endswith("}")
        if is_reader and model is not None and other.answer is model:
            return other
    return None
