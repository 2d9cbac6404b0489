"""How a page is declared, and what happens before its handler runs: the session, its rate, and for
a POST the proof that it comes from a page of ours."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote

from starlette.datastructures import FormData
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from backend.access import NOBODY, Principal
from backend.console.api import Api, Name, operations_of
from backend.console.rendering import Renderer
from backend.console.visits import Visit
from backend.operations import Operation
from backend.requests import BODY_MAX_BYTES, content_of
from backend.services import Services
from backend.sessions.cookies import is_secure, token_in
from backend.sessions.csrf import FIELD, csrf_token, is_csrf_token, is_own_origin
from contracts.problems import Problem, Rejected

SIGN_IN = "/sign-in"
_CSRF_HEADER = "x-csrf-token"
_FIELDS_MAX = 1_200
_SIGNED_OUT = frozenset({Problem.UNAUTHORIZED, Problem.INVALID_KEY})

Handler = Callable[[Visit], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page, or one thing that a page does. ``uses`` are the operations of the API that it calls
    for that; it can call no others. One that ``is_public`` is for those who are not signed in. One
    that ``takes_content`` is sent the bytes of a file by a script, with the CSRF token in a header.
    """

    method: str
    path: str
    handler: Handler
    uses: Sequence[Name] = ()
    is_public: bool = False
    takes_content: bool = False


def routes_of(
    pages: Iterable[Page],
    operations: Iterable[Operation],
    services: Services,
    renderer: Renderer,
) -> list[Route]:
    """One route per path. Raises LookupError if a page uses an operation that there is not."""
    operations = tuple(operations)
    by_path: dict[str, dict[str, _Visitor]] = {}
    for page in pages:
        visitor = _Visitor(page, operations_of(page.uses, operations), services, renderer)
        by_path.setdefault(page.path, {})[page.method] = visitor
    return [
        Route(path, _Endpoint(visitors), methods=["GET", "HEAD", "POST"])
        for path, visitors in by_path.items()
    ]


class _Endpoint:
    """The pages of one path."""

    def __init__(self, visitors: Mapping[str, "_Visitor"]) -> None:
        self._visitors = visitors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        method = "GET" if request.method == "HEAD" else request.method
        visitor = self._visitors.get(method)
        if visitor is None:
            raise Rejected(Problem.METHOD_NOT_ALLOWED, f"{request.method} is not allowed here.")
        response = await visitor.answer(request)
        await response(scope, receive, send)


class _Visitor:
    """Answers the visits of one page."""

    def __init__(
        self,
        page: Page,
        operations: Mapping[Name, Operation],
        services: Services,
        renderer: Renderer,
    ) -> None:
        self._page = page
        self._operations = operations
        self._services = services
        self._renderer = renderer
        self._is_secure = is_secure(services.settings.public_url or "")

    async def answer(self, request: Request) -> Response:
        """The page; a refusal as a page of its own."""
        token = token_in(request.headers.get("cookie", ""), secure=self._is_secure)
        page, principal, form = self._page, NOBODY, FormData()
        is_post = page.method == "POST"
        try:
            if is_post:
                self._check_origin(request)
            principal = await self._principal(request, token)
            if is_post and not page.takes_content:
                form = await _form_of(request)
            if is_post and token is not None and not page.is_public:
                _check_csrf(request, form, token)
            visit = Visit(
                services=self._services,
                request=request,
                principal=principal,
                csrf=csrf_token(token) if token else "",
                api=Api(self._services, principal, self._operations),
                renderer=self._renderer,
                form=form,
                content=content_of(request) if page.takes_content else None,
            )
            return await page.handler(visit)
        except Rejected as rejected:
            if rejected.problem in _SIGNED_OUT and not page.is_public:
                return _to_sign_in(request)
            return self._renderer.refusal(request, principal, rejected)

    async def _principal(self, request: Request, token: str | None) -> Principal:
        services = self._services
        caller = services.access.caller_of(request)
        if self._page.is_public:
            await services.api_limits.admit_anonymous(request, caller.address)
            return Principal("", None, frozenset(), caller=caller)
        if token is None:
            raise Rejected(Problem.UNAUTHORIZED, "Sign in first.")
        principal = await services.access.authenticate_credential(token, caller)
        await services.api_limits.admit(request, principal)
        return principal

    def _check_origin(self, request: Request) -> None:
        """Raises Rejected unless a page of ours sent the request."""
        public = self._services.settings.public_url
        scheme = "https" if self._is_secure else "http"
        own = {public, f"{scheme}://{self._services.access.host_of(request)}"}
        sent = request.headers.get("origin")
        if not any(is_own_origin(sent, each) for each in own if each):
            raise Rejected(
                Problem.ORIGIN_NOT_ALLOWED, "This was not sent by a page of the console."
            )


def _check_csrf(request: Request, form: FormData, token: str) -> None:
    sent = request.headers.get(_CSRF_HEADER) or form.get(FIELD, "")
    if not isinstance(sent, str) or not is_csrf_token(sent, token):
        raise Rejected(
            Problem.ORIGIN_NOT_ALLOWED, "The page is out of date: go back, load it again, repeat."
        )


async def _form_of(request: Request) -> FormData:
    """The fields of a form that is posted. Raises Rejected."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > BODY_MAX_BYTES:
        raise _too_much()
    content = bytearray()
    try:
        async for chunk in request.stream():
            content += chunk
            if len(content) > BODY_MAX_BYTES:
                raise _too_much()
    except ClientDisconnect:
        raise Rejected(Problem.BAD_BODY, "The form ended before its time.") from None
    try:
        pairs = parse_qsl(
            content.decode(), keep_blank_values=True, max_num_fields=_FIELDS_MAX, errors="strict"
        )
    except ValueError:
        raise Rejected(Problem.BAD_BODY, "That is not a form of ours.") from None
    return FormData([(name, value.replace("\r\n", "\n")) for name, value in pairs])


def _too_much() -> Rejected:
    return Rejected(Problem.BODY_TOO_LARGE, "That is too much for one form.")


def _to_sign_in(request: Request) -> Response:
    """The page to sign in, which leads back here if that is a page."""
    where = SIGN_IN
    if request.method == "GET":
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        if target != "/":
            where += f"?next={quote(target, safe='')}"
    # htmx follows a redirect and would put the page to sign in into a corner of this one.
    if "hx-request" in request.headers:
        return Response(headers={"HX-Redirect": where})
    return Response(status_code=303, headers={"Location": where})
