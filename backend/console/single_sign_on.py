"""Signing in at the identity provider: on the way there, and back."""

from starlette.responses import Response

from backend.answers import missing
from backend.console.pages import Page
from backend.console.sign_in import is_secure_visit, next_page, signed_in
from backend.console.visits import Visit
from backend.oidc.errors import SignInRefused
from backend.oidc.pending import COOKIE, PENDING_SECONDS
from backend.oidc.registration import CALLBACK, START
from backend.oidc.setup import ProviderServices

_NEXT_MAX = 1_000
_HEADERS = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}


async def depart(visit: Visit) -> Response:
    """Sends the browser to the provider. A link does it and no form: the policy of our pages lets
    no form lead elsewhere."""
    single_sign_on = _provider_of(visit).single_sign_on
    try:
        departure = await single_sign_on.depart(_next(visit))
    except SignInRefused as refused:
        return _refused(visit, refused)
    response = Response(status_code=303, headers={"Location": departure.url, **_HEADERS})
    cookie = COOKIE.kept(departure.cookie, PENDING_SECONDS, secure=is_secure_visit(visit))
    response.headers.append("Set-Cookie", cookie)
    return response


async def arrive(visit: Visit) -> Response:
    """Takes the provider's answer, which comes once: the cookie is forgotten with it."""
    single_sign_on = _provider_of(visit).single_sign_on
    is_secure = is_secure_visit(visit)
    cookies = visit.request.headers.get("cookie", "")
    pending = COOKIE.value_in(cookies, secure=is_secure)
    try:
        arrival = await single_sign_on.arrive(visit.query, pending, visit.principal.caller)
        response = signed_in(visit, arrival.session.token, arrival.next)
    except SignInRefused as refused:
        response = _refused(visit, refused)
    if pending is not None:
        response.headers.append("Set-Cookie", COOKIE.forgotten(secure=is_secure))
    return response


def _next(visit: Visit) -> str:
    """The page to go on to; one whose address is too long for a cookie is none."""
    wanted = visit.query.get("next", "")
    return next_page(wanted if len(wanted) <= _NEXT_MAX else "")


def _provider_of(visit: Visit) -> ProviderServices:
    provider = visit.services.identity_provider
    if provider is None:
        raise missing("page")
    return provider


def _refused(visit: Visit, refused: SignInRefused) -> Response:
    return visit.render("sign_in_refused.html", refused.status, detail=refused.detail)


pages = (
    Page(method="GET", path=START, handler=depart, is_public=True),
    Page(method="GET", path=CALLBACK, handler=arrive, is_public=True),
)
