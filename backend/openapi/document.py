"""The OpenAPI 3.1 document, from the operations that also make the routes."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from backend.access import OWNERSHIP, SESSION
from backend.openapi.answers import (
    COMPONENT_EXAMPLES,
    COMPONENT_HEADERS,
    RATE_HEADERS,
    header_references,
    refusals,
)
from backend.openapi.examples import ID_PATTERN, ID_PREFIXES, Examples
from backend.openapi.ingest import INGEST_PATH, ingest_path_item
from backend.openapi.links import id_parameter_of, links_of
from backend.openapi.processes import PROCESS_PATHS
from backend.openapi.schemas import PROBLEM_SCHEMA, RECEIPT_SCHEMA, REF, reference
from backend.operations import Operation
from backend.requests import CONTENT_TYPE
from backend.resources import path_parameters, reader_of
from contracts import VERSION
from contracts.idempotency import HEADER_PATTERN, MISMATCH_HEADER, REPLAYED_HEADER
from contracts.problems import Problem

_DESCRIPTION = """Forms, their submissions and all that belongs to them.

Send a key, or the token of a session, as `Authorization: Bearer ff_mgmt_…`. Lists are pages of
`data`, newest first, continued with `next_cursor`. Refusals are `application/problem+json`
(RFC 9457); the last part of `type` says which. Unsafe requests may carry an `Idempotency-Key`:
repeated within 24 hours, they get the first answer again. Every answer says how often you may still
call.
"""


def document(operations: Iterable[Operation]) -> dict[str, Any]:
    """The document that describes these operations, and the ingest endpoint beside them."""
    operations = tuple(operations)
    schemas = _schemas(operations)
    paths: dict[str, dict[str, Any]] = defaultdict(dict)
    for operation in operations:
        described = _Describer(operation, operations, schemas).describe()
        paths[operation.path][operation.method.lower()] = described
    paths[INGEST_PATH] = ingest_path_item(operations)
    paths.update(PROCESS_PATHS)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "FormFlow",
            "version": VERSION,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in _tags(paths)],
        "paths": dict(paths),
        "components": {
            "schemas": schemas | {"Problem": PROBLEM_SCHEMA, "Receipt": RECEIPT_SCHEMA},
            "examples": COMPONENT_EXAMPLES,
            "headers": COMPONENT_HEADERS,
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key, or the token of a session: "
                    "`Authorization: Bearer ff_mgmt_…`",
                }
            },
        },
    }


def problems_of(operation: Operation) -> set[Problem]:
    """Every problem that an operation may answer."""
    problems = {*operation.problems, Problem.RATE_LIMITED, Problem.INTERNAL, Problem.UNAVAILABLE}
    if operation.right is not None:
        problems |= {
            Problem.UNAUTHORIZED,
            Problem.INVALID_KEY,
            Problem.IP_NOT_ALLOWED,
            Problem.INSUFFICIENT_SCOPE,
        }
    if path_parameters(operation.path):
        problems.add(Problem.NOT_FOUND)
    if operation.query is not None:
        problems.add(Problem.VALIDATION_ERROR)
    if operation.takes_idempotency_key:
        problems |= {Problem.BAD_IDEMPOTENCY_KEY, Problem.CONFLICT}
    if operation.body is not None or operation.takes_content:
        problems |= {Problem.BAD_BODY, Problem.UNSUPPORTED_MEDIA_TYPE}
    if operation.body is not None:
        problems |= {Problem.BODY_TOO_LARGE, Problem.VALIDATION_ERROR}
    return problems


def _schemas(operations: Iterable[Operation]) -> dict[str, Any]:
    bodies = {operation.body for operation in operations if operation.body is not None}
    answers = {operation.answer for operation in operations if operation.answer is not None}
    wanted = [(model, "validation") for model in bodies]
    wanted += [(model, "serialization") for model in answers]
    wanted.sort(key=lambda pair: pair[0].__name__)
    _, definitions = models_json_schema(
        wanted,  # type: ignore[arg-type]
        ref_template=REF,
    )
    schemas: dict[str, Any] = definitions["$defs"]
    return schemas


class _Describer:
    """Describes one operation among the others."""

    def __init__(
        self, operation: Operation, operations: tuple[Operation, ...], schemas: dict[str, Any]
    ) -> None:
        self._operation = operation
        self._operations = operations
        self._examples = Examples(schemas)

    def describe(self) -> dict[str, Any]:
        """The operation object."""
        operation = self._operation
        described: dict[str, Any] = {
            "operationId": operation.handler.__name__,
            "summary": operation.summary,
            "tags": [_tag(operation.path)],
            "security": [] if operation.right is None else [{"key": [operation.right]}],
            "parameters": [
                *map(_path_parameter, path_parameters(operation.path)),
                *_query_parameters(operation.query),
                *([_IDEMPOTENCY_KEY] if operation.takes_idempotency_key else []),
            ],
            "responses": {str(operation.status): self._success()}
            | refusals(problems_of(operation)),
        }
        if operation.right is not None:
            described["description"] = _need(operation.right)
            described["x-required-scope"] = operation.right
        if operation.body is not None:
            schema = reference(operation.body)
            example = self._examples.of_body(schema)
            content: dict[str, Any] = {"application/json": {"schema": schema, "example": example}}
            if operation.plain_member is not None:
                content["text/plain"] = {"schema": {"type": "string", "minLength": 1}}
            described["requestBody"] = {
                "required": not operation.has_optional_body,
                "content": content,
            }
        if operation.takes_content:
            content = {CONTENT_TYPE: {"schema": {"type": "string", "format": "binary"}}}
            described["requestBody"] = {"required": True, "content": content}
        return described

    def _success(self) -> dict[str, Any]:
        operation = self._operation
        success: dict[str, Any] = {"description": "Done.", "headers": self._headers()}
        if operation.answer is not None:
            schema = reference(operation.answer)
            id_name = id_parameter_of(operation, self._operations)
            example = self._examples.of_answer(schema, id_name, self._bodies())
            content = {"schema": schema, "example": example}
            success["content"] = {operation.media_type: content}
        elif operation.status != 204:
            of_file = _SCHEMAS_OF_FILES.get(operation.media_type, {"type": "string"})
            success["content"] = {operation.media_type: {"schema": of_file}}
        links = links_of(operation, self._operations)
        return success | {"links": links} if links else success

    def _bodies(self) -> list[dict[str, str]]:
        """The schemas of the bodies that make, or change, what this operation answers."""
        reader = reader_of(self._operation, self._operations)
        return [
            reference(other.body)
            for other in self._operations
            if other.body is not None
            and other.status == 201
            and reader is not None
            and reader_of(other, self._operations) is reader
        ]

    def _headers(self) -> dict[str, Any]:
        operation = self._operation
        names = ["X-Request-Id", *RATE_HEADERS]
        if operation.status == 201 and reader_of(operation, self._operations):
            names.append("Location")
        if operation.takes_idempotency_key:
            names += [REPLAYED_HEADER, MISMATCH_HEADER]
        return header_references(names)


# Of answers that no model describes: documents and exports.
_SCHEMAS_OF_FILES: dict[str, dict[str, Any]] = {
    media_type: {"type": ["object", "array"]}
    for media_type in ("application/json", "application/yaml")
}
# Of path parameters that are no ids.
_PATTERNS = {"asset": r"^(?:swagger-ui-bundle\.js|swagger-ui\.css|viewer\.js)$"}
_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A repeated request with one key gets the first answer again, for 24 hours.",
    "schema": {"type": "string", "pattern": HEADER_PATTERN},
    "example": "7f3c2b9e-order-1",
}


def _path_parameter(name: str) -> dict[str, Any]:
    """Raises KeyError for a name that nothing is known of: it must be told what it may hold."""
    pattern = _PATTERNS.get(name) or f"^{ID_PREFIXES[name]}_{ID_PATTERN}$"
    return {
        "name": name,
        "in": "path",
        "required": True,
        "schema": {"type": "string", "pattern": pattern},
    }


def _query_parameters(model: type[BaseModel] | None) -> list[dict[str, Any]]:
    if model is None:
        return []
    parameters = []
    whole = model.model_json_schema()
    for name, schema in whole["properties"].items():
        schema = _resolved(_not_null(schema), whole.get("$defs", {}))
        parameter = {"name": name, "in": "query", "schema": schema}
        if name in whole.get("required", ()):
            parameter["required"] = True
        description = whole["properties"][name].get("description")
        if description is not None:
            parameter["description"] = description
        parameters.append(parameter)
    return parameters


def _not_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter is absent rather than null."""
    choices = [choice for choice in schema.get("anyOf", []) if choice.get("type") != "null"]
    if len(choices) == 1:
        chosen: dict[str, Any] = choices[0]
        return chosen | ({"examples": schema["examples"]} if "examples" in schema else {})
    return schema


def _resolved(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """A parameter's schema, without reference."""
    name = schema.get("$ref", "").rpartition("/")[2]
    if not name:
        return schema
    named: dict[str, Any] = definitions[name]
    return named | {key: value for key, value in schema.items() if key != "$ref"}


def _need(right: str) -> str:
    if right == SESSION:
        return "Needs the session of a member who is signed in."
    if right == OWNERSHIP:
        return "Needs every scope, on the whole account."
    return f"Needs the scope `{right}`."


def _tag(path: str) -> str:
    if not path.startswith("/v1/"):
        return "about"
    return "submissions" if "/submissions" in path else path.split("/")[2].partition(".")[0]


def _tags(paths: dict[str, dict[str, Any]]) -> list[str]:
    """Every tag, in the order of the operations."""
    tags = [
        tag for item in paths.values() for operation in item.values() for tag in operation["tags"]
    ]
    return list(dict.fromkeys(tags))
