"""Reads ``application/json`` (RFC 8259) whose top level is an object.

A value that is not a string becomes its JSON text: compact, in order, the last of duplicate
members, non-ASCII as it is, and numbers letter by letter as they were sent.
"""

import json
from typing import Any

import orjson

from gateway.parsing.fields import (
    Body,
    BodyLimits,
    bad_body,
    gather_fields,
    too_large,
    too_many_fields,
    value_too_large,
)

_CONTAINERS_MAX = 50_000
_LITERALS = {None: "null", True: "true", False: "false"}


class _Number(str):
    """The text of a number as it was sent."""

    __slots__ = ()


def parse_json_object(raw: bytes, limits: BodyLimits) -> Body:
    """The members of a JSON object as fields.

    Raises 400 for what is not strict JSON in UTF-8 (BOM, lone surrogate, NaN, a number beyond a
    double), not an object or nested too deeply; 413 for too many members or one over its limit.
    """
    # Counted before they are parsed: a megabyte of "[]," would hold the event loop for 60 ms.
    if raw.count(b"[") + raw.count(b"{") > _CONTAINERS_MAX:
        raise too_large(f"The JSON body has more than {_CONTAINERS_MAX} arrays and objects.")
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise bad_body(f"The body is not valid JSON: {error}.") from None
    if not isinstance(document, dict):
        raise bad_body('The JSON body must be an object of fields, such as {"name": "Ada"}.')
    if len(document) > limits.fields:
        raise too_many_fields(limits)
    pairs = _flat_texts(document)
    if pairs is None:
        _check_shape(document, limits)
        pairs = _exact_texts(raw)
    return Body(gather_fields(pairs, limits), charset_guessed=False)


def _flat_texts(document: dict[str, Any]) -> list[tuple[str, str]] | None:
    """The pairs of an object whose numbers orjson keeps exactly, None for any other.

    It reads ``-0`` as 0, and what is beyond 64 bits or has a fraction as a double.
    """
    pairs = []
    for name, value in document.items():
        kind = type(value)
        if kind is str:
            pairs.append((name, value))
        elif kind is int and value:
            pairs.append((name, str(value)))
        elif value is None or kind is bool:
            pairs.append((name, _LITERALS[value]))
        else:
            return None
    return pairs


def _check_shape(document: dict[str, Any], limits: BodyLimits) -> None:
    """Raises for what cannot be stored, before the slow parser or recursion meets it."""
    for name, value in document.items():
        if type(value) is dict or type(value) is list:
            _check_container(name, value, limits)


def _check_container(name: str, value: Any, limits: BodyLimits) -> None:
    least_bytes = 0
    level: list[Any] = [value]
    for _ in range(limits.json_depth - 1):
        # Every item takes at least one character and a separator.
        least_bytes += sum([2 * len(parent) for parent in level])
        if least_bytes > limits.value_bytes:
            raise value_too_large(name, limits)
        level = [child for parent in level for child in _containers(parent)]
        if not level:
            return
    raise bad_body(f"The JSON body is nested more than {limits.json_depth} levels deep.")


def _containers(parent: Any) -> list[Any]:
    children = parent.values() if type(parent) is dict else parent
    return [child for child in children if type(child) is dict or type(child) is list]


def _exact_texts(raw: bytes) -> list[tuple[str, str]]:
    document = json.loads(raw.decode(), parse_int=_as_sent, parse_float=_as_sent)
    return [
        (name, value if type(value) is str else _json_text(value))
        for name, value in document.items()
    ]


def _as_sent(number: str) -> _Number:
    # A function, not the class itself: running Python code lets go of the GIL now and then, which
    # the parser does not do over a megabyte of numbers.
    return _Number(number)


def _json_text(value: Any) -> str:
    # Recursion is safe: the depth has been checked.
    kind = type(value)
    if kind is _Number:
        return str(value)
    if kind is str:
        return _quoted(value)
    if kind is list:
        return "[" + ",".join([_json_text(item) for item in value]) + "]"
    if kind is dict:
        members = [f"{_quoted(name)}:{_json_text(item)}" for name, item in value.items()]
        return "{" + ",".join(members) + "}"
    return _LITERALS[value]


def _quoted(text: str) -> str:
    return orjson.dumps(text).decode()
