"""The OpenAPI 3.1 document, from the operations that also make the routes."""

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from backend.answers import PROBLEM_TYPE
from backend.api import Operation
from backend.openapi_ingest import INGEST_PATH, INGEST_PATH_ITEM, RECEIPT_SCHEMA
from contracts import VERSION
from contracts.problems import Problem

_REF = "#/components/schemas/{model}"
_ID_PREFIXES = {"form_id": "frm", "submission_id": "sub", "file_id": "fil", "key_id": "key"}
_PROBLEM_SCHEMA = {
    "title": "Problem",
    "description": "A refusal (RFC 9457). Some carry further members.",
    "type": "object",
    "required": ["type", "title", "status", "detail", "error"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "error": {"type": "string", "description": "The detail again."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "code", "message"],
                "properties": {
                    "field": {"type": "string"},
                    "code": {"type": "string"},
                    "message": {"type": "string"},
                },
            },
        },
    },
}


def document(operations: Iterable[Operation]) -> dict[str, Any]:
    """The document that describes these operations, and the ingest endpoint beside them."""
    operations = tuple(operations)
    paths: dict[str, dict[str, Any]] = defaultdict(dict)
    for operation in operations:
        paths[operation.path][operation.method.lower()] = _operation(operation)
    paths[INGEST_PATH] = INGEST_PATH_ITEM
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "FormFlow",
            "version": VERSION,
            "description": "Forms, their submissions and API keys.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": dict(paths),
        "components": {
            "schemas": _schemas(operations)
            | {"Problem": _PROBLEM_SCHEMA, "Receipt": RECEIPT_SCHEMA},
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key: `Authorization: Bearer ff_mgmt_…`",
                }
            },
        },
    }


def problems_of(operation: Operation) -> set[Problem]:
    """Every problem that an operation may answer."""
    problems = {*operation.problems}
    if operation.right is not None:
        problems |= {
            Problem.UNAUTHORIZED,
            Problem.INVALID_KEY,
            Problem.INSUFFICIENT_SCOPE,
            Problem.RATE_LIMITED,
            Problem.INTERNAL,
            Problem.UNAVAILABLE,
        }
    if _path_parameters(operation.path):
        problems.add(Problem.NOT_FOUND)
    if operation.query is not None:
        problems.add(Problem.VALIDATION_ERROR)
    if operation.body is not None:
        problems |= {
            Problem.BAD_BODY,
            Problem.BODY_TOO_LARGE,
            Problem.UNSUPPORTED_MEDIA_TYPE,
            Problem.VALIDATION_ERROR,
        }
    return problems


def _schemas(operations: Iterable[Operation]) -> dict[str, Any]:
    bodies = {operation.body for operation in operations if operation.body is not None}
    answers = {operation.answer for operation in operations if operation.answer is not None}
    wanted = [(model, "validation") for model in bodies]
    wanted += [(model, "serialization") for model in answers]
    wanted.sort(key=lambda pair: pair[0].__name__)
    _, definitions = models_json_schema(wanted, ref_template=_REF)  # type: ignore[arg-type]
    schemas: dict[str, Any] = definitions["$defs"]
    return schemas


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.handler.__name__,
        "summary": operation.summary,
        "tags": [_tag(operation.path)],
        "security": [] if operation.right is None else [{"key": []}],
        "parameters": [
            *map(_path_parameter, _path_parameters(operation.path)),
            *_query_parameters(operation.query),
        ],
        "responses": _responses(operation),
    }
    if operation.right is not None:
        described["description"] = f"Needs the scope `{operation.right}`."
    if operation.body is not None:
        described["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _reference(operation.body)}},
        }
    return described


def _responses(operation: Operation) -> dict[str, Any]:
    success: dict[str, Any] = {"description": "Done."}
    if operation.answer is not None:
        success["content"] = {operation.media_type: {"schema": _reference(operation.answer)}}
    elif operation.status != 204:
        kind = "object" if operation.media_type == "application/json" else "string"
        success["content"] = {operation.media_type: {"schema": {"type": kind}}}
    by_status: dict[int, list[Problem]] = defaultdict(list)
    for problem in sorted(problems_of(operation), key=lambda problem: problem.slug):
        by_status[problem.status].append(problem)
    refusals = {
        str(status): {
            "description": "; ".join(f"`{problem.slug}`: {problem.title}" for problem in problems),
            "content": {PROBLEM_TYPE: {"schema": {"$ref": _REF.format(model="Problem")}}},
        }
        for status, problems in sorted(by_status.items())
    }
    return {str(operation.status): success} | refusals


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REF.format(model=model.__name__)}


def _path_parameters(path: str) -> list[str]:
    return re.findall(r"\{(\w+)\}", path)


def _path_parameter(name: str) -> dict[str, Any]:
    pattern = f"^{_ID_PREFIXES[name]}_[0-9a-hjkmnp-tv-z]{{26}}$"
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
    for name, schema in model.model_json_schema()["properties"].items():
        parameter = {"name": name, "in": "query", "schema": _not_null(schema)}
        if "description" in schema:
            parameter["description"] = schema["description"]
        parameters.append(parameter)
    return parameters


def _not_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter is absent rather than null."""
    choices = [choice for choice in schema.get("anyOf", []) if choice.get("type") != "null"]
    return choices[0] if len(choices) == 1 else schema


def _tag(path: str) -> str:
    if not path.startswith("/v1/"):
        return "about"
    return "submissions" if "/submissions" in path else path.split("/")[2]
