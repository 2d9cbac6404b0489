"""How an endpoint is declared, and what every endpoint does before its handler runs.

An ``Operation`` says everything about an endpoint; from it come the route, the checks and the
OpenAPI document, so that the three cannot disagree.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from backend.access import NOBODY, Principal
from backend.answers import Boundary, json_response, refuse
from backend.services import Services
from contracts.problems import Problem, Rejected
from contracts.runtime.clock import Clock

BODY_MAX_BYTES = 1024 * 1024
_ERRORS_MAX = 100


class Body(BaseModel):
    """The base of request bodies: nothing unknown, nothing coerced."""

    model_config = ConfigDict(extra="forbid", strict=True)


@dataclass(frozen=True, slots=True)
class Call:
    """What a handler gets. ``body`` and ``query`` are instances of the operation's models."""

    services: Services
    principal: Principal
    path: Mapping[str, str]
    body: Any
    query: Any


Handler = Callable[[Call], Awaitable[BaseModel | Response | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One endpoint. ``right`` is the scope a caller needs; None, said explicitly, makes it public.

    ``problems`` lists what the handler refuses beyond what follows from the other members.
    ``admits`` may let a request in that needs no right, because of its signature, or refuse it.
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


def routes_of(operations: Iterable[Operation], services: Services) -> list[Route]:
    """One route per path, which answers every method."""
    by_path: dict[str, dict[str, Operation]] = {}
    for operation in operations:
        by_path.setdefault(operation.path, {})[operation.method] = operation
    return [Route(path, _Endpoint(services, methods)) for path, methods in by_path.items()]


def finish_app(app: Starlette, problem_base: str, clock: Clock) -> Starlette:
    """Makes every answer of ``app`` carry its request id, and every refusal a problem."""
    app.router.redirect_slashes = False
    app.add_exception_handler(HTTPException, refuse)
    app.add_middleware(Boundary, problem_base=problem_base, clock=clock)
    return app


class _Endpoint:
    """The operations of one path."""

    def __init__(self, services: Services, operations: Mapping[str, Operation]) -> None:
        self._services = services
        self._operations = operations

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        method = "GET" if request.method == "HEAD" else request.method
        operation = self._operations.get(method)
        if operation is None:
            raise self._not_allowed(request.method)
        response = await _perform(operation, self._services, request)
        await response(scope, receive, send)

    def _not_allowed(self, method: str) -> Rejected:
        allowed = sorted({*self._operations, *(["HEAD"] if "GET" in self._operations else [])})
        return Rejected(
            Problem.METHOD_NOT_ALLOWED,
            f"{method} is not allowed here.",
            headers={"Allow": ", ".join(allowed)},
        )


async def _perform(operation: Operation, services: Services, request: Request) -> Response:
    principal = NOBODY
    is_admitted = operation.admits is not None and operation.admits(services, request)
    if operation.right is not None and not is_admitted:
        principal = await services.access.authenticate(request)
        principal.require(operation.right)
    query = _parse_query(operation.query, request) if operation.query else None
    body = await _parse_body(operation.body, request) if operation.body else None
    answer = await operation.handler(Call(services, principal, request.path_params, body, query))
    # What belongs to an account stays out of shared caches.
    headers = {"Cache-Control": "no-store"} if operation.right is not None else {}
    if isinstance(answer, Response):
        answer.headers.update(headers)
        return answer
    if answer is None:
        return Response(status_code=operation.status, headers=headers)
    return json_response(answer.model_dump(mode="json"), operation.status, headers)


def _parse_query(model: type[BaseModel], request: Request) -> BaseModel:
    return _validated(model, dict(request.query_params))


async def _parse_body(model: type[BaseModel], request: Request) -> BaseModel:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise Rejected(
            Problem.UNSUPPORTED_MEDIA_TYPE, "Send the body as JSON: Content-Type: application/json"
        )
    content = await _read_body(request)
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise Rejected(Problem.BAD_BODY, f"The body is not valid JSON: {error.msg}.") from None
    return _validated(model, document)


async def _read_body(request: Request) -> bytes:
    too_large = Rejected(
        Problem.BODY_TOO_LARGE, f"A request body may have {BODY_MAX_BYTES} bytes at most."
    )
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > BODY_MAX_BYTES:
        raise too_large
    content = bytearray()
    try:
        async for chunk in request.stream():
            content += chunk
            if len(content) > BODY_MAX_BYTES:
                raise too_large
    except ClientDisconnect:
        raise Rejected(Problem.BAD_BODY, "The body ended before its time.") from None
    return bytes(content)


def _validated(model: type[BaseModel], document: Any) -> BaseModel:
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise _rejection(error) from None


def _rejection(error: ValidationError) -> Rejected:
    complaints = error.errors(include_url=False, include_input=False, include_context=False)
    errors = [
        {
            "field": ".".join(map(str, complaint["loc"])),
            "code": complaint["type"],
            "message": _message(complaint["type"], complaint["msg"]),
        }
        for complaint in complaints[:_ERRORS_MAX]
    ]
    first = errors[0]
    detail = f"{first['field']}: {first['message']}" if first["field"] else first["message"]
    return Rejected(Problem.VALIDATION_ERROR, detail, errors=errors)


def _message(code: str, message: str) -> str:
    if code == "extra_forbidden":
        return "There is no such member, or it cannot be set here."
    return message
