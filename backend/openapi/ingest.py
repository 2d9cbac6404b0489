"""The OpenAPI description of the ingest endpoint, which the gateway serves."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from backend.answers import PROBLEM_TYPE
from backend.openapi.answers import (
    RATE_HEADERS,
    description_of,
    header_references,
    problem_content,
)
from backend.operations import Operation
from backend.resources import path_parameters
from contracts.idempotency import HEADER_PATTERN, MISMATCH_HEADER, REPLAYED_HEADER
from contracts.problems import Problem

INGEST_PATH = "/v1/f/{slug}"
_PROBLEMS = (
    Problem.BAD_BODY,
    Problem.BAD_IDEMPOTENCY_KEY,
    Problem.QUOTA_EXCEEDED,
    Problem.FORM_NOT_LIVE,
    Problem.INVALID_KEY,
    Problem.IP_NOT_ALLOWED,
    Problem.ORIGIN_NOT_ALLOWED,
    Problem.TURNSTILE_FAILED,
    Problem.FORM_NOT_FOUND,
    Problem.METHOD_NOT_ALLOWED,
    Problem.BODY_TOO_LARGE,
    Problem.FILE_TOO_LARGE,
    Problem.UPLOADS_NOT_ALLOWED,
    Problem.UNSUPPORTED_MEDIA_TYPE,
    Problem.VALIDATION_ERROR,
    Problem.IDEMPOTENCY_MISMATCH,
    Problem.RATE_LIMITED,
    Problem.INTERNAL,
    Problem.UNAVAILABLE,
    Problem.TURNSTILE_UNAVAILABLE,
)
_FIELDS = {
    "type": "object",
    "additionalProperties": {
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]
    },
}
_EXAMPLE = {"email": "ada@example.com", "message": "Hello"}


def ingest_path_item(operations: Iterable[Operation]) -> dict[str, Any]:
    """The path item; a receipt's id leads to those of ``operations`` that have it in their path."""
    links = {
        operation.handler.__name__: {
            "operationId": operation.handler.__name__,
            "parameters": {"submission_id": "$response.body#/id"},
        }
        for operation in operations
        if path_parameters(operation.path) == ["submission_id"]
    }
    success = {**_STORED, "links": links}
    queued = {**_STORED, "description": "Safe at the gateway until the backend is back."}
    return {
        "post": {
            **_OPERATION,
            "responses": {"200": success, "202": queued, "303": _REDIRECT, **_refusals()},
        }
    }


def _refusals() -> dict[str, Any]:
    by_status: dict[int, list[Problem]] = defaultdict(list)
    for problem in _PROBLEMS:
        by_status[problem.status].append(problem)
    return {
        str(status): {
            "description": description_of(problems),
            "headers": header_references(["X-Request-Id"]),
            "content": {
                PROBLEM_TYPE: problem_content(status, problems),
                "text/html": {"schema": {"type": "string"}},
            },
        }
        for status, problems in sorted(by_status.items())
    }


_HEADERS = header_references(["X-Request-Id", *RATE_HEADERS, REPLAYED_HEADER, MISMATCH_HEADER])
_RECEIPT = {
    "id": "sub_01jz8q6v4mq0c3e5r7t9w1y2a4",
    "form_id": "frm_01jz8q6v4mq0c3e5r7t9w1y2a4",
    "received_at": "2026-06-10T10:23:00.000Z",
    "ok": True,
    "next": None,
}
_STORED: dict[str, Any] = {
    "description": "Stored, or stored before with the same idempotency key.",
    "headers": _HEADERS,
    "content": {
        "application/json": {
            "schema": {"$ref": "#/components/schemas/Receipt"},
            "example": _RECEIPT,
        },
        "text/html": {"schema": {"type": "string"}},
    },
}
_REDIRECT = {
    "description": "Stored; a browser goes on to the form's redirect URL.",
    "headers": _HEADERS | header_references(["Location"]),
}
_OPERATION: dict[str, Any] = {
    "operationId": "submit",
    "summary": "Post to a form",
    "description": "What a form's `action` points at. Answered after the submission is "
    "durable. Browsers get a redirect or a page, programs JSON. A key may come along: one of kind "
    "`submission`, or a scoped one with `submissions:write`.",
    "tags": ["ingest"],
    "security": [{}, {"key": []}],
    "parameters": [
        {
            "name": "slug",
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": "^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$"},
            "example": "contact",
        },
        {
            "name": "Idempotency-Key",
            "in": "header",
            "description": "Repeated posts with one key are one submission, for 24 hours.",
            "schema": {"type": "string", "pattern": HEADER_PATTERN},
        },
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/x-www-form-urlencoded": {"schema": _FIELDS, "example": _EXAMPLE},
            "multipart/form-data": {"schema": _FIELDS, "example": _EXAMPLE},
            "application/json": {"schema": {"type": "object"}, "example": _EXAMPLE},
        },
    },
}
