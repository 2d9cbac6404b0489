"""The OpenAPI description of the ingest endpoint, which the gateway serves."""

from typing import Any

from backend.answers import PROBLEM_TYPE
from contracts.problems import Problem

INGEST_PATH = "/v1/f/{slug}"
_PROBLEMS = (
    Problem.BAD_BODY,
    Problem.BAD_IDEMPOTENCY_KEY,
    Problem.QUOTA_EXCEEDED,
    Problem.FORM_NOT_LIVE,
    Problem.INVALID_KEY,
    Problem.ORIGIN_NOT_ALLOWED,
    Problem.TURNSTILE_FAILED,
    Problem.FORM_NOT_FOUND,
    Problem.METHOD_NOT_ALLOWED,
    Problem.BODY_TOO_LARGE,
    Problem.FILE_TOO_LARGE,
    Problem.UPLOADS_NOT_ALLOWED,
    Problem.UNSUPPORTED_MEDIA_TYPE,
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

RECEIPT_SCHEMA: dict[str, Any] = {
    "title": "Receipt",
    "description": "The submission is stored for good.",
    "type": "object",
    "required": ["id", "form_id", "received_at", "ok", "next"],
    "properties": {
        "id": {"type": "string"},
        "form_id": {"type": "string"},
        "received_at": {"type": "string", "format": "date-time"},
        "ok": {"const": True},
        "next": {
            "type": ["string", "null"],
            "description": "Where the form sends browsers, if anywhere.",
        },
    },
}


def _refusals() -> dict[str, Any]:
    by_status: dict[int, list[str]] = {}
    for problem in _PROBLEMS:
        by_status.setdefault(problem.status, []).append(f"`{problem.slug}`: {problem.title}")
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        str(status): {
            "description": "; ".join(titles),
            "content": {
                PROBLEM_TYPE: {"schema": schema},
                "text/html": {"schema": {"type": "string"}},
            },
        }
        for status, titles in sorted(by_status.items())
    }


INGEST_PATH_ITEM: dict[str, Any] = {
    "post": {
        "operationId": "submit",
        "summary": "Post to a form",
        "description": "What a form's `action` points at. Answered after the submission is "
        "durable. Browsers get a redirect or a page, programs JSON.",
        "tags": ["ingest"],
        "security": [{}, {"key": []}],
        "parameters": [
            {
                "name": "slug",
                "in": "path",
                "required": True,
                "schema": {
                    "type": "string",
                    "pattern": "^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$",
                },
            },
            {
                "name": "Idempotency-Key",
                "in": "header",
                "description": "Repeated posts with one key are one submission, for 24 hours.",
                "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
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
        "responses": {
            "200": {
                "description": "Stored, or stored before with the same idempotency key.",
                "headers": {
                    "Idempotency-Replayed": {"schema": {"const": "true"}},
                    "Idempotency-Mismatch": {"schema": {"const": "true"}},
                },
                "content": {
                    "application/json": {"schema": {"$ref": "#/components/schemas/Receipt"}},
                    "text/html": {"schema": {"type": "string"}},
                },
            },
            "303": {
                "description": "Stored; a browser goes on to the form's redirect URL.",
                "headers": {"Location": {"schema": {"type": "string", "format": "uri"}}},
            },
            **_refusals(),
        },
    }
}
