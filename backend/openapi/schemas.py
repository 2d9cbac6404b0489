"""The schemas of the OpenAPI document that no model of ours makes."""

from typing import Any

from pydantic import BaseModel

REF = "#/components/schemas/{model}"
"""Where the schema of a model is."""

PROBLEM_SCHEMA: dict[str, Any] = {
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
            "description": "Every member that is not valid.",
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
        "scope": {"type": "string", "description": "The scope that is missing."},
        "retry_after": {"type": "integer", "description": "Seconds."},
    },
}

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


def reference(model: type[BaseModel]) -> dict[str, str]:
    """A reference to the schema of a model."""
    return {"$ref": REF.format(model=model.__name__)}
