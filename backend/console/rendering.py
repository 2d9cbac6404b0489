"""Pages as HTML: the templates, what they can call, and the headers that every page carries.

Everything is escaped unless a template says otherwise, which none does with what people have sent.
The policy lets a page load and ask nothing but this server, and run nothing that stands in it.
"""

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import Response

from backend.access import Principal
from backend.answers import missing
from backend.console import formats
from backend.console.navigation import ENTRIES
from backend.console.notices import notice_of
from backend.console.submissions.texts import line_of
from backend.services import Services
from contracts import VERSION
from contracts.problems import Rejected

if TYPE_CHECKING:
    from backend.console.visits import Visit

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS: Mapping[str, str] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
ASSETS = "/console-assets"
_MEDIA_TYPES = {
    "attach.js": "text/javascript",
    "console.css": "text/css",
    "console.js": "text/javascript",
    "export.js": "text/javascript",
    "favicon.svg": "image/svg+xml",
    "htmx.min.js": "text/javascript",
    "submissions.js": "text/javascript",
}


class Renderer:
    """Renders the console's templates."""

    def __init__(self, services: Services) -> None:
        self._environment = Environment(
            loader=PackageLoader("backend.console"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.do"],
        )
        self._environment.globals |= {
            "asset": asset_url,
            "public_url": services.settings.public_url or "",
            "version": VERSION,
        }
        self._environment.filters |= {**formats.FILTERS, "line": line_of}

    def page(
        self, visit: "Visit", template: str, status: int, context: Mapping[str, Any]
    ) -> Response:
        """A page of whoever visits."""
        request, principal = visit.request, visit.principal
        shown = {
            "fault": None,
            "csrf": visit.csrf,
            "notice": notice_of(request.query_params),
            "may": principal.has,
            **_frame(request, principal),
            **context,
        }
        return self._html(template, status, shown)

    def refusal(self, request: Request, principal: Principal, rejected: Rejected) -> Response:
        """The page that says why there is no other."""
        context = {
            "rejected": rejected,
            "csrf": "",
            "notice": None,
            "fault": None,
            "may": principal.has,
            **_frame(request, principal),
        }
        response = self._html("refusal.html", rejected.problem.status, context)
        response.headers.update(rejected.headers)
        return response

    def _html(self, template: str, status: int, context: Mapping[str, Any]) -> Response:
        content = self._environment.get_template(template).render(context)
        return Response(content, status, SECURITY_HEADERS, "text/html")


def _frame(request: Request, principal: Principal) -> dict[str, Any]:
    """What the frame around every page shows."""
    path = request.url.path
    entries = [
        {
            "title": entry.title,
            "path": entry.path,
            "icon": entry.icon,
            "is_current": entry.has(path),
        }
        for entry in ENTRIES
        if entry.right is None or principal.has(entry.right)
    ]
    return {"navigation": entries, "is_signed_in": principal.user_id is not None, "path": path}


def asset_url(name: str) -> str:
    """Where a page finds a file of ours; another address for another content."""
    return f"{ASSETS}/{name}?v={_digest(name)}"


async def get_asset(request: Request) -> Response:
    """A file that pages load, which may be kept for ever."""
    name = request.path_params["name"]
    if name not in _MEDIA_TYPES:
        raise missing("file")
    is_current = request.query_params.get("v") == _digest(name)
    headers = {
        "Cache-Control": "public, max-age=31536000, immutable" if is_current else "no-cache",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(_content(name), headers=headers, media_type=_MEDIA_TYPES[name])


@cache
def _content(name: str) -> bytes:
    return (files("backend.console") / "static" / name).read_bytes()


@cache
def _digest(name: str) -> str:
    return hashlib.sha256(_content(name)).hexdigest()[:16]
