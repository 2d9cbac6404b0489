"""Examples in the OpenAPI document: of each body and each answer, from the schemas themselves.

A member's own example comes first, then its default, then whatever its schema allows.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from contracts.problems import Problem, Rejected, problem_document

ID_PREFIXES = {
    "account_id": "acc",
    "delivery_id": "whd",
    "environment_id": "env",
    "event_id": "evt",
    "file_id": "fil",
    "form_id": "frm",
    "key_id": "key",
    "mail_id": "mail",
    "member_id": "usr",
    "session_id": "ses",
    "submission_id": "sub",
    "webhook_id": "wh",
}
"""What the ids begin with that a path or a member of that name holds."""
ID_PATTERN = "[0-9a-hjkmnp-tv-z]{26}"
_ID_TAIL = "01jz8q6v4mq0c3e5r7t9w1y2a4"
_REF = "#/components/schemas/"
_CHOICES = ("anyOf", "oneOf", "allOf")
_BY_TYPE: Mapping[str, Any] = {
    "string": "text",
    "integer": 1,
    "number": 1.5,
    "boolean": True,
    "null": None,
}
_BY_FORMAT = {
    "date": "2026-06-10",
    "date-time": "2026-06-10T10:23:00.000Z",
    "email": "ada@example.com",
    "uri": "https://example.com/",
}

Schema = Mapping[str, Any]


def id_example(parameter: str) -> str:
    """An id such as a path parameter of this name holds."""
    return f"{ID_PREFIXES[parameter]}_{_ID_TAIL}"


class Examples:
    """Makes examples of what the schemas of ``schemas`` describe."""

    def __init__(self, schemas: Mapping[str, Schema]) -> None:
        self._schemas = schemas

    def of_body(self, schema: Schema) -> Any:
        """A body that ``schema`` allows: what is required, and what has an example of its own."""
        return self._example(schema, {}, is_whole=False)

    def of_answer(self, schema: Schema, id_name: str | None, bodies: Iterable[Schema]) -> Any:
        """An answer with all of its members. ``id_name`` is the path parameter of its own id;
        members that ``bodies`` have, too, are as there."""
        known: dict[str, Any] = {"next_cursor": None}
        for body in bodies:
            known |= self._own_examples(body)
        if id_name is not None:
            known["id"] = id_example(id_name)
        return self._example(schema, known, is_whole=True)

    def _own_examples(self, schema: Schema) -> dict[str, Any]:
        properties = self._resolved(schema).get("properties", {})
        return {
            name: self._example(member, {}, is_whole=False)
            for name, member in properties.items()
            if member.get("examples") or member.get("default") is not None
        }

    def _resolved(self, schema: Schema) -> Schema:
        while "$ref" in schema:
            schema = self._schemas[schema["$ref"].removeprefix(_REF)]
        return schema

    def _example(self, schema: Schema, known: Mapping[str, Any], *, is_whole: bool) -> Any:
        if schema.get("examples"):
            return schema["examples"][0]
        schema = self._resolved(schema)
        if schema.get("examples"):
            return schema["examples"][0]
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return schema["enum"][0]
        if schema.get("default") is not None:
            return schema["default"]
        if schema.get("type") == "array":
            return [self._example(schema.get("items", {}), known, is_whole=is_whole)]
        if schema.get("type") == "object":
            return self._object(schema, known, is_whole=is_whole)
        for choices in _CHOICES:
            if choices in schema:
                return self._example(schema[choices][0], known, is_whole=is_whole)
        return _plain(schema)

    def _object(
        self, schema: Schema, known: Mapping[str, Any], *, is_whole: bool
    ) -> dict[str, Any]:
        made: dict[str, Any] = {}
        # Of members that exclude each other, those of the first choice.
        first, *others = schema.get("oneOf") or [{}]
        required = {*schema.get("required", ()), *first.get("required", ())}
        excluded = {name for other in others for name in other.get("required", ())} - required
        for name, member in schema.get("properties", {}).items():
            is_shown = name in required or (member.get("examples") and name not in excluded)
            if not (is_whole or is_shown):
                continue
            if name in known:
                made[name] = known[name]
            elif name in ID_PREFIXES and not member.get("examples"):
                made[name] = id_example(name)
            else:
                made[name] = self._example(member, known, is_whole=is_whole)
        return made


def _plain(schema: Schema) -> Any:
    """An example of a schema that says little more than a type."""
    prefix, separator, rest = schema.get("pattern", "").removeprefix("^").partition("_")
    if separator and rest == f"{ID_PATTERN}$":
        return f"{prefix}_{_ID_TAIL}"
    return _BY_FORMAT.get(schema.get("format", ""), _BY_TYPE.get(schema.get("type", ""), {}))


def problem_example(problem: Problem, problem_base: str) -> dict[str, Any]:
    """The document of a refusal."""
    return problem_document(Rejected(problem, f"{problem.title}."), problem_base)
