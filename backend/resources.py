"""Which operation reads what another one answers: where a new object is, and what leads to it."""

import re
from collections.abc import Iterable

from backend.operations import Operation

_PARAMETER = re.compile(r"\{(\w+)\}")


def path_parameters(path: str) -> list[str]:
    """The names of the parameters of a path, in order."""
    return _PARAMETER.findall(path)


def reader_of(operation: Operation, operations: Iterable[Operation]) -> Operation | None:
    """The operation that reads one object of the kind that ``operation`` answers, by its id."""
    if operation.answer is None or "id" not in operation.answer.model_fields:
        return None
    for other in operations:
        is_reader = other.method == "GET" and other.path.endswith("}") and other.answer is not None
        if is_reader and issubclass(operation.answer, other.answer or object):
            return other
    return None
