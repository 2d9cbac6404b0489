"""Brings submissions in from the exports of other services, and from our own."""

import asyncio
import io
from collections import Counter
from typing import Any

from starlette.responses import Response

from backend.console.forms.operations import FORM
from backend.console.pages import Page
from backend.console.visits import Fault, Visit
from backend.forms.documents import Form
from backend.imports.schemas import ITEMS_MAX, ImportReport
from backend.imports.sources import FORMFLOW, SOURCES, Export, UnreadableExport
from contracts.problems import Problem, Rejected

_IMPORT = ("POST", "/v1/forms/{form_id}/submissions/import")
_PATH = "/forms/{form_id}/import"
_TEMPLATE = "form_import.html"
_SHOWN_NAME = "The export"


async def show_import(visit: Visit) -> Response:
    visit.api.require(*_IMPORT)
    return visit.render(_TEMPLATE, **await _shown(visit))


async def run_import(visit: Visit) -> Response:
    """Imports what was pasted, or says what an import would do."""
    is_dry_run = visit.text("action") == "check"
    try:
        source, submissions = await asyncio.to_thread(
            _read, visit.text("export"), visit.text("source")
        )
        counts = await _send(visit, source, submissions, is_dry_run)
    except UnreadableExport as error:
        fault = Fault(str(error), {"export": str(error)})
        status = Problem.VALIDATION_ERROR.status
        return visit.render(_TEMPLATE, status, fault=fault, **await _shown(visit))
    except Rejected as rejected:
        return visit.refused(_TEMPLATE, rejected, **await _shown(visit))
    return visit.render(
        _TEMPLATE,
        **await _shown(visit)
        | {"report": counts, "is_dry_run": is_dry_run, "found_source": title_of(source)},
    )


def title_of(source: str) -> str:
    """What a service calls itself."""
    return "FormFlow" if source == FORMFLOW.name else source.capitalize()


def _read(text: str, source: str) -> tuple[str, list[dict[str, Any]]]:
    """The service whose export it is, and what is in it. Raises UnreadableExport."""
    content = text.encode()
    chosen = source if source in SOURCES else None
    export = Export(_SHOWN_NAME, lambda: io.BytesIO(content), chosen)
    return export.source.name, list(export.submissions())


async def _send(
    visit: Visit, source: str, submissions: list[dict[str, Any]], is_dry_run: bool
) -> Counter[str]:
    """What became of them, some hundreds at a time. One that is refused names its place."""
    counts: Counter[str] = Counter()
    for start in range(0, len(submissions), ITEMS_MAX):
        body = {
            "source": source,
            "submissions": submissions[start : start + ITEMS_MAX],
            "dry_run": is_dry_run,
        }
        report = await visit.api.ask(ImportReport, *_IMPORT, at=visit.path, body=body)
        counts += Counter(report.model_dump(include={"imported", "known", "past_retention"}))
    return counts


async def _shown(visit: Visit) -> dict[str, Any]:
    return {
        "form": await visit.api.ask(Form, *FORM, at=visit.path),
        "sources": [("", "Find out"), *((name, title_of(name)) for name in SOURCES)],
        "source": visit.text("source"),
        "export": visit.text("export"),
        "report": None,
        "is_dry_run": False,
        "found_source": "",
    }


pages = (
    Page(method="GET", path=_PATH, handler=show_import, uses=(FORM, _IMPORT)),
    Page(method="POST", path=_PATH, handler=run_import, uses=(FORM, _IMPORT)),
)
