"""What every endpoint does before its handler runs, and after.

In this order: the credential, its rate, its right, the query, the body, the idempotency key.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from backend.access import NOBODY, OWNERSHIP, RIGHTS, SESSION, Principal
from backend.answers import Boundary, json_response, refuse
from backend.idempotency.sealed import Request as UnsafeRequest
from backend.operations import Body, Call, Handler, Operation
from backend.requests import BODY_MAX_BYTES, content_of, parse_body, parse_query
from backend.resources import path_parameters, reader_of
from backend.services import Services
from contracts.idempotency import read_key
from contracts.problems import Problem, Rejected
from contracts.runtime.clock import Clock

__all__ = [
    "BODY_MAX_BYTES",
    "Body",
    "Call",
    "Handler",
    "Operation",
    "finish_app",
    "routes_of",
]


def routes_of(operations: Iterable[Operation], services: Services) -> list[Route]:
    """One route per path, which answers every method.

    Raises:
        ValueError: an operation needs a right that does not exist: nobody has it, or everybody
            would if it were taken for none.
    """
    operations = tuple(operations)
    for operation in operations:
        if operation.right is not None and operation.right not in RIGHTS | {SESSION, OWNERSHIP}:
            raise ValueError(
                f"{operation.method} {operation.path}: there is no right {operation.right!r}"
            )
    by_path: dict[str, dict[str, _Performer]] = {}
    for operation in operations:
        performer = _Performer(operation, services, reader_of(operation, operations))
        by_path.setdefault(operation.path, {})[operation.method] = performer
    return [Route(path, _Endpoint(services, methods)) for path, methods in by_path.items()]


def finish_app(
    app: Starlette, problem_base: str, clock: Clock, services: Services | None = None
) -> Starlette:
    """Makes every answer of ``app`` carry its request id, and every refusal a problem. With
    ``services``, asking for what is not there counts for the client's rate."""
    app.router.redirect_slashes = False
    if services is not None:
        app.router.default = _Nowhere(services)
    app.add_exception_handler(HTTPException, refuse)
    app.add_middleware(Boundary, problem_base=problem_base, clock=clock)
    return app


class _Endpoint:
    """The operations of one path."""

    def __init__(self, services: Services, performers: Mapping[str, "_Performer"]) -> None:
        self._services = services
        self._performers = performers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        method = "GET" if request.method == "HEAD" else request.method
        performer = self._performers.get(method)
        if performer is None:
            await _admit_anonymous(self._services, request)
            raise self._not_allowed(request.method)
        response = await performer.perform(request)
        await response(scope, receive, send)

    def _not_allowed(self, method: str) -> Rejected:
        allowed = sorted({*self._performers, *(["HEAD"] if "GET" in self._performers else [])})
        return Rejected(
            Problem.METHOD_NOT_ALLOWED,
            f"{method} is not allowed here.",
            headers={"Allow": ", ".join(allowed)},
        )


class _Nowhere:
    """What answers where no operation is."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, _: Send) -> None:
        await _admit_anonymous(self._services, Request(scope, receive))
        raise Rejected(Problem.NOT_FOUND, "There is nothing at this address.")


class _Performer:
    """Answers the requests of one operation."""

    def __init__(self, operation: Operation, services: Services, reader: Operation | None) -> None:
        self._operation = operation
        self._services = services
        self._location = reader.path if reader and operation.status == 201 else None

    async def perform(self, request: Request) -> Response:
        """The answer. Raises Rejected, and what the handler raises."""
        operation, services = self._operation, self._services
        principal = await self._admit(request)
        query = parse_query(operation.query, request) if operation.query else None
        body = await self._body(request)
        content = content_of(request) if operation.takes_content else None
        call = Call(services, principal, request.path_params, body, query, content)
        key = _idempotency_key(request) if operation.takes_idempotency_key else None
        if key is None:
            return await self._answer(call)
        unsafe = UnsafeRequest(
            account_id=principal.account_id,
            credential=request.headers["authorization"].partition(" ")[2].strip(),
            idempotency_key=key,
            address=f"{request.method} {request.url.path}",
            document=[body and body.model_dump(mode="json", exclude_unset=True), str(query)],
        )
        return await services.idempotency.once(unsafe, lambda: self._answer(call))

    async def _body(self, request: Request) -> BaseModel | None:
        operation = self._operation
        if operation.body is None:
            return None
        return await parse_body(
            operation.body,
            request,
            is_optional=operation.has_optional_body,
            plain_member=operation.plain_member,
        )

    async def _admit(self, request: Request) -> Principal:
        operation, services = self._operation, self._services
        is_admitted = operation.admits is not None and operation.admits(services, request)
        if operation.right is None or is_admitted:
            await _admit_anonymous(services, request)
            return replace(NOBODY, caller=services.access.caller_of(request))
        try:
            principal = await services.access.authenticate(request)
        except Rejected:
            await _admit_anonymous(services, request)
            raise
        services.api_calls.count(principal.account_id)
        await services.api_limits.admit(request, principal)
        services.access.require(principal, operation.right)
        return principal

    async def _answer(self, call: Call) -> Response:
        operation = self._operation
        answer = await operation.handler(call)
        # What belongs to an account, or is made for whoever asks, stays out of caches.
        is_for_all = operation.right is None and operation.method == "GET"
        headers = {} if is_for_all else {"Cache-Control": "no-store"}
        if isinstance(answer, Response):
            answer.headers.update(headers)
            return answer
        if answer is None:
            return Response(status_code=operation.status, headers=headers)
        document = answer.model_dump(mode="json")
        if self._location is not None:
            headers["Location"] = _filled(self._location, call.path, document["id"])
        return json_response(document, operation.status, headers)


async def _admit_anonymous(services: Services, request: Request) -> None:
    address = services.access.caller_of(request).address
    await services.api_limits.admit_anonymous(request, address)


def _idempotency_key(request: Request) -> str | None:
    sent = request.headers.getlist("idempotency-key")
    # Joined as a proxy would join them, two are malformed.
    return read_key(", ".join(sent).encode("latin-1"))


def _filled(path: str, parameters: Mapping[str, str], id: str) -> str:
    """The path of the object ``id``; what stands above it is in ``parameters``."""
    *_, last = path_parameters(path)
    return path.format_map({**parameters, last: id})
