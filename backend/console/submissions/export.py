"""The export of a form: what it will hold, and the file itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from starlette.responses import Response

from backend.console.pages import Page
from backend.console.submissions.listing import address, end_of, start_of
from backend.console.submissions.operations import COUNT, FORM
from backend.console.visits import Visit
from backend.forms.documents import Form
from backend.submissions.schemas import SubmissionCount
from contracts.problems import Rejected

_TEMPLATE = "submission_export.html"
_FORMATS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "csv": ("GET", "/v1/forms/{form_id}/submissions.csv"),
        "json": ("GET", "/v1/forms/{form_id}/submissions.json"),
    }
)
_STATUSES = (("all", "All"), ("received", "Received"), ("held", "Held"), ("spam", "Spam"))


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to export; ``since`` and ``until`` are as those of a list."""

    format: str
    status: str
    since: str
    until: str

    @classmethod
    def of(cls, visit: Visit) -> "Wanted":
        """What an address asks for."""
        named = {name: visit.query.get(name, "").strip() for name in ("status", "since", "until")}
        format = visit.query.get("format", "")
        return cls(
            format=format if format in _FORMATS else "csv",
            status=named["status"] or "all",
            since=named["since"],
            until=named["until"],
        )

    @property
    def span(self) -> dict[str, str]:
        """The moments to ask the API for."""
        moments = {"since": start_of(self.since), "until": end_of(self.until)}
        return {name: moment for name, moment in moments.items() if moment}

    @property
    def asked(self) -> dict[str, str]:
        """What to ask the API for."""
        return self.span | {"status": self.status}


async def show_export(visit: Visit) -> Response:
    wanted, expected = Wanted.of(visit), None
    visit.api.require(*_FORMATS[wanted.format])
    form = None
    if visit.api.may(*FORM):
        form = await visit.api.ask(Form, *FORM, at=visit.path)
    context: dict[str, Any] = {
        "form": form,
        "form_id": visit.path["form_id"],
        "wanted": wanted,
        "statuses": _STATUSES,
        "command": _command(visit, wanted),
    }
    try:
        if visit.api.may(*COUNT):
            counts = await visit.api.ask(SubmissionCount, *COUNT, at=visit.path, query=wanted.span)
            shown = {"all": counts.total} | counts.model_dump()
            expected = shown.get(wanted.status, counts.total)
    except Rejected as rejected:
        return visit.refused(_TEMPLATE, rejected, expected=None, **context)
    return visit.render(_TEMPLATE, expected=expected, **context)


def _command(visit: Visit, wanted: Wanted) -> str:
    """The same with a key, for a script."""
    _, path = _FORMATS[wanted.format]
    origin = visit.services.settings.public_url or ""
    url = address(f"{origin}{path.format_map(visit.path)}", wanted.asked)
    return f'curl -OJ -H "Authorization: Bearer $KEY" "{url}"'


async def get_export(visit: Visit) -> Response:
    """The file, streamed."""
    wanted = Wanted.of(visit)
    found = await visit.api.call(*_FORMATS[wanted.format], at=visit.path, query=wanted.asked)
    if not isinstance(found, Response):
        raise TypeError("an export is a response")
    found.headers["Cache-Control"] = "no-store"
    return found


_PATH = "/forms/{form_id}/export"

pages = (
    Page(
        method="GET",
        path=_PATH,
        handler=show_export,
        uses=(FORM, COUNT, *_FORMATS.values()),
    ),
    Page(
        method="GET",
        path=f"{_PATH}/file",
        handler=get_export,
        uses=tuple(_FORMATS.values()),
    ),
)
