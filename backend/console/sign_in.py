"""Signing in and out: the pages for those who are not signed in yet."""

from typing import Any

from starlette.responses import Response

from backend.console.pages import SIGN_IN, Page
from backend.console.visits import Visit
from backend.members.schemas import JoinedMember
from backend.sessions.beginning import LIFE_MS
from backend.sessions.cookies import is_secure, no_session_cookie, session_cookie
from backend.sessions.schemas import BegunSession, LinkOnItsWay
from contracts.problems import Rejected

HOME = "/overview"
_SIGNED_OUT = frozenset({"signed-out", "signed-out-everywhere"})
_MAGIC_LINK = ("POST", "/v1/auth/magic-link")
_BEGIN = ("POST", "/v1/auth/session")
_END = ("DELETE", "/v1/auth/session")
_ACCEPT = ("POST", "/v1/invitations/accept")


async def show_home(visit: Visit) -> Response:
    return visit.go(HOME)


async def show_sign_in(visit: Visit) -> Response:
    """Asks for an address; or, with the token of a link, for a click: programs that look through
    mails follow links, and a link works once."""
    token = visit.query.get("token")
    if token is None:
        return _ask(visit, "")
    return visit.render(
        "use_link.html",
        heading="You are nearly in",
        button="Sign in",
        action="/sign-in/use",
        token=token,
        next=next_page(visit.query.get("next", "")),
    )


async def send_link(visit: Visit) -> Response:
    email = visit.text("email")
    try:
        await visit.api.ask(LinkOnItsWay, *_MAGIC_LINK, body={"email": email})
    except Rejected as rejected:
        return visit.refused("sign_in.html", rejected, **_asking(visit, email))
    return visit.render("link_sent.html", email=email)


async def use_link(visit: Visit) -> Response:
    try:
        begun = await visit.api.ask(BegunSession, *_BEGIN, body={"token": visit.text("token")})
    except Rejected as rejected:
        return visit.render("link_refused.html", rejected.problem.status, detail=rejected.detail)
    return signed_in(visit, begun.token, visit.text("next"))


async def show_invitation(visit: Visit) -> Response:
    return visit.render(
        "use_link.html",
        heading="You are invited",
        button="Join",
        action="/invitation",
        token=visit.query.get("token", ""),
        next="",
    )


async def accept_invitation(visit: Visit) -> Response:
    try:
        joined = await visit.api.ask(JoinedMember, *_ACCEPT, body={"token": visit.text("token")})
    except Rejected as rejected:
        return visit.render("link_refused.html", rejected.problem.status, detail=rejected.detail)
    return signed_in(visit, joined.session.token, visit.text("next"))


async def sign_out(visit: Visit) -> Response:
    await visit.api.call(*_END)
    return signed_out(visit, "signed-out")


def signed_out(visit: Visit, notice: str) -> Response:
    """The page to sign in, and a browser that has forgotten the session."""
    response = visit.go(SIGN_IN, notice)
    response.headers["Set-Cookie"] = no_session_cookie(secure=is_secure_visit(visit))
    return response


def signed_in(visit: Visit, token: str, next: str) -> Response:
    """The page that a sign-in goes on to, for a browser that keeps the session."""
    response = visit.go(next_page(next))
    response.headers["Set-Cookie"] = session_cookie(
        token, LIFE_MS // 1000, secure=is_secure_visit(visit)
    )
    return response


def _ask(visit: Visit, email: str) -> Response:
    return visit.render("sign_in.html", **_asking(visit, email))


def _asking(visit: Visit, email: str) -> dict[str, Any]:
    provider = visit.services.identity_provider
    single_sign_on = provider.single_sign_on if provider else None
    is_leaving = visit.query.get("notice") in _SIGNED_OUT
    return {
        "email": email,
        "next": next_page(visit.query.get("next") or visit.text("next")),
        "has_mailbox": visit.services.mailbox is not None,
        "single_sign_on": single_sign_on,
        "sign_out_url": single_sign_on.sign_out_url() if single_sign_on and is_leaving else None,
    }


def next_page(path: str) -> str:
    """A page of ours to go on to: whatever looks like another place is none."""
    is_ours = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if is_ours else HOME


def is_secure_visit(visit: Visit) -> bool:
    """Whether cookies can be had over TLS only."""
    return is_secure(visit.services.settings.public_url or "")


pages = (
    Page(method="GET", path="/", handler=show_home),
    Page(method="GET", path=SIGN_IN, handler=show_sign_in, is_public=True),
    Page(method="POST", path=SIGN_IN, handler=send_link, uses=(_MAGIC_LINK,), is_public=True),
    Page(method="POST", path="/sign-in/use", handler=use_link, uses=(_BEGIN,), is_public=True),
    Page(method="GET", path="/invitation", handler=show_invitation, is_public=True),
    Page(
        method="POST",
        path="/invitation",
        handler=accept_invitation,
        uses=(_ACCEPT,),
        is_public=True,
    ),
    Page(method="POST", path="/sign-out", handler=sign_out, uses=(_END,)),
)
