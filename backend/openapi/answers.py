"""What answers have in common in the OpenAPI document: their headers, and the refusals."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from backend.answers import PROBLEM_TYPE
from backend.openapi.examples import problem_example
from backend.openapi.schemas import REF
from contracts.idempotency import MISMATCH_HEADER, REPLAYED_HEADER
from contracts.problems import Problem
from contracts.runtime.settings import Settings

_PROBLEM_BASE: str = Settings.model_fields["problem_base"].default
_SECONDS = {"type": "integer", "minimum": 0}
RATE_HEADERS = (
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "RateLimit",
    "RateLimit-Policy",
)

COMPONENT_HEADERS: dict[str, Any] = {
    "X-Request-Id": {
        "description": "Finds the request in the logs; the one sent, if it is well-formed.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
    },
    "X-RateLimit-Limit": {
        "description": "Requests that the window admits.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "X-RateLimit-Remaining": {
        "description": "Requests that it would still admit.",
        "schema": _SECONDS,
    },
    "X-RateLimit-Reset": {"description": "Seconds until it admits more.", "schema": _SECONDS},
    "RateLimit": {
        "description": "The same as draft-ietf-httpapi-ratelimit-headers has it.",
        "schema": {"type": "string"},
        "example": '"default";r=1199;t=60',
    },
    "RateLimit-Policy": {
        "description": "The window: its quota and its seconds.",
        "schema": {"type": "string"},
        "example": '"default";q=1200;w=60',
    },
    "Retry-After": {
        "description": "Seconds to wait before trying again.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "Location": {
        "description": "Where the new object is.",
        "schema": {"type": "string", "format": "uri-reference"},
    },
    REPLAYED_HEADER: {
        "description": "The answer is that of an earlier request with the same key.",
        "schema": {"type": "string", "const": "true"},
    },
    MISMATCH_HEADER: {
        "description": "That earlier request had another body.",
        "schema": {"type": "string", "const": "true"},
    },
    "WWW-Authenticate": {
        "description": "How to authenticate.",
        "schema": {"type": "string", "const": "Bearer"},
    },
}
COMPONENT_EXAMPLES: dict[str, Any] = {
    problem.slug: {"summary": problem.title, "value": problem_example(problem, _PROBLEM_BASE)}
    for problem in Problem
}
_OF_STATUS = {401: ["WWW-Authenticate"], 409: ["Retry-After"], 429: ["Retry-After"]}
_OF_STATUS[503] = ["Retry-After"]


def header_references(names: Iterable[str]) -> dict[str, Any]:
    """References to headers, by name."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def refusals(problems: Iterable[Problem]) -> dict[str, Any]:
    """The answers that are these problems, by status."""
    by_status: dict[int, list[Problem]] = defaultdict(list)
    for problem in sorted(problems, key=lambda problem: problem.slug):
        by_status[problem.status].append(problem)
    return {str(status): _refusal(status, by_status[status]) for status in sorted(by_status)}


def problem_content(status: int, problems: Iterable[Problem]) -> dict[str, Any]:
    """The media type object of a refusal that is one of these problems."""
    problems = tuple(problems)
    slugs = "|".join(problem.slug for problem in problems)
    return {
        "schema": {
            "allOf": [
                {"$ref": REF.format(model="Problem")},
                {
                    "properties": {
                        "type": {"pattern": f"/(?:{slugs})$"},
                        "status": {"const": status},
                    }
                },
            ]
        },
        "examples": {
            problem.slug: {"$ref": f"#/components/examples/{problem.slug}"} for problem in problems
        },
    }


def description_of(problems: Iterable[Problem]) -> str:
    """The slugs and titles of problems."""
    return "; ".join(f"`{problem.slug}`: {problem.title}" for problem in problems)


def _refusal(status: int, problems: list[Problem]) -> dict[str, Any]:
    names = ["X-Request-Id", *RATE_HEADERS, *_OF_STATUS.get(status, ())]
    return {
        "description": description_of(problems),
        "headers": header_references(names),
        "content": {PROBLEM_TYPE: problem_content(status, problems)},
    }
