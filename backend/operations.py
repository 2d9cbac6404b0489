"""How an endpoint is declared.

An ``Operation`` says everything about an endpoint; from it come the route, the checks and the
OpenAPI document, so that the three cannot disagree.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from backend.access import Principal
from backend.services import Services
from contracts.problems import Problem

UNSAFE_METHODS = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class Body(BaseModel):
    """The base of request bodies: nothing unknown, nothing coerced."""

    model_config = ConfigDict(extra="forbid", strict=True)


@dataclass(frozen=True, slots=True)
class Call:
    """What a handler gets. ``body`` and ``query`` are instances of the operation's models,
    ``content`` a ``backend.requests.Content`` where the operation takes one."""

    services: Services
    principal: Principal
    path: Mapping[str, str]
    body: Any
    query: Any
    content: Any = None


Handler = Callable[[Call], Awaitable[BaseModel | Response | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One endpoint. ``right`` is the scope a caller needs, or ``SESSION`` or ``OWNERSHIP``; None,
    said explicitly, makes it public.

    ``problems`` lists what the handler refuses beyond what follows from the other members.
    ``admits`` may let a request in that needs no right, because of its signature, or refuse it.
    ``plain_member`` is the member of ``body`` that a body of ``text/plain`` is, where one may be.
    ``takes_content`` is for bodies that no model describes: the bytes of a file, which the handler
    reads as they come. A query that has their digest makes an ``Idempotency-Key`` safe with them.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    right: str | None
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    answer: type[BaseModel] | None = None
    status: int = 200
    media_type: str = "application/json"
    problems: tuple[Problem, ...] = ()
    admits: Callable[[Services, Request], bool] | None = None
    plain_member: str | None = None
    takes_content: bool = False

    @property
    def has_optional_body(self) -> bool:
        """Whether a request may have none: what it does has a default in all respects."""
        fields = self.body.model_fields.values() if self.body is not None else ()
        return self.method == "POST" and not any(field.is_required() for field in fields)

    @property
    def takes_idempotency_key(self) -> bool:
        """Whether a repetition with the same ``Idempotency-Key`` is answered like the first. What
        is public belongs to no account that an answer could be kept for."""
        return self.method in UNSAFE_METHODS and self.right is not None
