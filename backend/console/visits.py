"""One visit of a page: who, what they sent, and what goes back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from starlette.datastructures import FormData, QueryParams
from starlette.requests import Request
from starlette.responses import Response

from backend.access import Principal
from backend.console.api import Api
from backend.console.rendering import Renderer
from backend.requests import Content
from backend.services import Services
from contracts.problems import Problem, Rejected

_SEE_OTHER = 303
# What stays as it is in an address that is one already (RFC 3986, 2.2 and 2.1); everything else,
# line ends among it, has no place in a header.
_URL_CHARACTERS = ":/?#[]@!$&'()*+,;=~%"
# What the API says to programs, for people who have a label and a hint before them.
_WORDS = {
    "int_type": "Give a whole number.",
    "string_pattern_mismatch": "This does not look as it must.",
    "string_too_short": "Fill this in.",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """What the API found wrong with a form: a sentence for all of it, and one for each member. The
    members of a list, and of what else a member holds, have paths as ``hosts.0``; the member itself
    then has the first of their sentences."""

    detail: str
    of: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_rejection(cls, rejected: Rejected) -> "Fault":
        """What a refusal says."""
        errors = rejected.members.get("errors", ())
        of: dict[str, str] = {}
        for each in errors:
            message = _WORDS.get(each["code"], each["message"])
            of.setdefault(each["field"], message)
            member, *inner = each["field"].split(".")
            if inner:
                where = f"No. {int(inner[0]) + 1}" if inner[0].isdecimal() else inner[0]
                of.setdefault(member, f"{where}: {message}")
        return cls("Something is not right yet." if of else rejected.detail, of)


@dataclass(frozen=True, slots=True)
class Visit:
    """What a page's handler gets. ``path`` are the parameters of the page's path, ``form`` the
    fields of a POST, ``content`` the bytes that a page takes instead."""

    services: Services
    request: Request
    principal: Principal
    csrf: str
    api: Api
    renderer: Renderer
    form: FormData
    content: Content | None = None

    @property
    def path(self) -> Mapping[str, str]:
        """The parameters of the page's path."""
        return self.request.path_params

    @property
    def query(self) -> QueryParams:
        """The query."""
        return self.request.query_params

    @property
    def is_partial(self) -> bool:
        """Whether htmx asks for a part of the page, to put into one that is there already."""
        return "hx-request" in self.request.headers and "hx-boosted" not in self.request.headers

    def text(self, name: str) -> str:
        """A field of the form as text, without spaces around it; empty if there is none."""
        value = self.form.get(name, "")
        return value.strip() if isinstance(value, str) else ""

    def render(self, template: str, status: int = 200, /, **context: Any) -> Response:
        """A page, or a part of one."""
        return self.renderer.page(self, template, status, context)

    def refused(self, template: str, rejected: Rejected, /, **context: Any) -> Response:
        """A form again, with what is wrong with it. What cannot be mended there is raised."""
        if rejected.problem not in _MENDABLE:
            raise rejected
        fault = Fault.from_rejection(rejected)
        return self.render(template, rejected.problem.status, fault=fault, **context)

    def go(self, path: str, notice: str | None = None, **query: str) -> Response:
        """Sends the browser on to another page, which says that something is done: ``notice`` is
        one of ``backend.console.notices``."""
        if notice is not None:
            query["notice"] = notice
        location = f"{path}?{urlencode(query)}" if query else path
        headers = {"Location": quote(location, safe=_URL_CHARACTERS)}
        return Response(status_code=_SEE_OTHER, headers=headers)


_MENDABLE = frozenset(
    {
        Problem.VALIDATION_ERROR,
        Problem.CONFLICT,
        Problem.RATE_LIMITED,
        Problem.INSUFFICIENT_SCOPE,
    }
)
