"""What goes back: JSON, problems, and on every answer its request id and the caller's rate."""

import re
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from contracts.ids import new_id
from contracts.problems import Problem, Rejected, problem_document
from contracts.runtime.clock import Clock
from contracts.runtime.rate_headers import rate_headers
from contracts.runtime.telemetry import get_logger

RATE_DECISION = "formflow.rate"
"""Where a request's scope has the ``Decision`` about its rate, once there is one."""
PROBLEM_TYPE = "application/problem+json"
_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_BY_STATUS = {
    400: Problem.BAD_BODY,
    404: Problem.NOT_FOUND,
    405: Problem.METHOD_NOT_ALLOWED,
    413: Problem.BODY_TOO_LARGE,
}
_log = get_logger("backend")


def json_response(
    content: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """An answer with a JSON body."""
    return Response(orjson.dumps(content), status, headers, "application/json")


def problem_response(rejected: Rejected, problem_base: str) -> Response:
    """The answer that a refusal is; ``problem_base`` prefixes its ``type``."""
    body = orjson.dumps(problem_document(rejected, problem_base))
    return Response(body, rejected.problem.status, rejected.headers, PROBLEM_TYPE)


def invalid(field: str, code: str, message: str) -> Rejected:
    """The refusal of one member or parameter."""
    errors = [{"field": field, "code": code, "message": message}]
    return Rejected(Problem.VALIDATION_ERROR, f"{field}: {message}", errors=errors)


def too_many(what: str, seconds: int) -> Rejected:
    """The refusal of one more of what may be had again in so many seconds."""
    return Rejected(
        Problem.RATE_LIMITED,
        f"Too many {what}. Try again in {seconds} s.",
        headers={"Retry-After": str(seconds)},
        retry_after=seconds,
    )


def missing(what: str) -> Rejected:
    """The refusal of something that does not exist, or not for this account: the two look alike."""
    return Rejected(Problem.NOT_FOUND, f"There is no such {what}.")


async def refuse(_: Request, error: Exception) -> Response:
    """Starlette's handler of ``HTTPException``: its own refusals become ours."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    problem = _BY_STATUS.get(status, Problem.INTERNAL)
    detail = {
        Problem.NOT_FOUND: "There is nothing at this address.",
        Problem.METHOD_NOT_ALLOWED: "The method is not allowed here.",
    }.get(problem, problem.title)
    raise Rejected(problem, detail, headers=headers) from error


class Boundary:
    """The outermost layer: renders what was raised and gives every answer its ``X-Request-Id``
    and, where the rate was decided, its headers."""

    def __init__(self, app: ASGIApp, problem_base: str, clock: Clock) -> None:
        self._app = app
        self._problem_base = problem_base
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        request_id = self._request_id(scope)
        is_started = False

        async def tagged(message: Message) -> None:
            nonlocal is_started
            if message["type"] == "http.response.start":
                is_started = True
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
                decision = scope.get(RATE_DECISION)
                if decision is not None:
                    message["headers"] += rate_headers(decision)
            await send(message)

        try:
            await self._app(scope, receive, tagged)
        except Exception as error:
            # Half an answer is out: breaking the connection is the only way left to say so.
            if is_started:
                raise
            await self._render(error, request_id)(scope, receive, tagged)

    def _request_id(self, scope: Scope) -> str:
        sent = Headers(scope=scope).get("x-request-id", "")
        return sent if _REQUEST_ID.fullmatch(sent) else new_id("req", self._clock.now_ms())

    def _render(self, error: Exception, request_id: str) -> Response:
        if not isinstance(error, Rejected):
            _log.error("unexpected error", request_id=request_id, exc_info=error)
            error = Rejected(
                Problem.INTERNAL, "The request failed. Its X-Request-Id finds it in the logs."
            )
        return problem_response(error, self._problem_base)
