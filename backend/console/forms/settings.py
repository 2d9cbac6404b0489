"""The settings of a form, a section at a time."""

from typing import Any

from starlette.responses import Response

from backend.answers import missing
from backend.console.forms.field_rows import (
    ROWS_MAX,
    changed_rows,
    documents_of,
    faults_of_rows,
    is_shown_whole,
    parsed,
    printed,
    rows_of,
    sent_rows,
)
from backend.console.forms.listing import MODES, STATUSES, environment_choices
from backend.console.forms.operations import CHANGE, ENVIRONMENTS, FORM
from backend.console.forms.sections import FIELDS, GENERAL, PROTECTION, SECTIONS, Section
from backend.console.pages import Page
from backend.console.visits import Fault, Visit
from backend.forms.documents import Form
from backend.usage.schemas import Usage
from contracts.fields import FieldType
from contracts.problems import Rejected

_USAGE = ("GET", "/v1/usage")
_SETTINGS = "/forms/{form_id}/settings"
_SECTION = "/forms/{form_id}/settings/{section}"
_FIELDS = f"{_SETTINGS}/{FIELDS.name}"
_OUTAGES = (
    ("refuse", "Refuse it: the visitor is asked to try again"),
    ("hold", "Hold it until somebody releases it"),
    ("accept", "Take it without the check"),
)
_SECRET = "turnstile_secret"  # noqa: S105 -- the name of a member


async def show_section(visit: Visit) -> Response:
    form, section = await _form(visit), _section(visit)
    return visit.render(_template(section), **await _shown(visit, form, section, {}))


async def save_section(visit: Visit) -> Response:
    section = _section(visit)
    changes = section.read(visit)
    if section is PROTECTION:
        changes |= _secret(visit)
    try:
        await visit.api.ask(Form, *CHANGE, at=visit.path, body=changes)
    except Rejected as rejected:
        form = await _form(visit)
        return visit.refused(
            _template(section), rejected, **await _shown(visit, form, section, changes)
        )
    return visit.go(_address(visit, section), "saved")


async def show_fields(visit: Visit) -> Response:
    form = await _form(visit)
    return visit.render("form_fields.html", **_fields_shown(visit, form))


async def save_fields(visit: Visit) -> Response:
    """Saves the fields; or shows the page again with a row more, less or elsewhere, as the button
    says that was pressed: nothing is saved then."""
    form, act = await _form(visit), visit.text("do")
    rows, json = sent_rows(visit.form), None
    changes: dict[str, Any] = {"enforce_fields": "enforce_fields" in visit.form}
    shown = {"rows": rows, "is_enforced": changes["enforce_fields"]}
    try:
        if act == "json":
            json = visit.text("fields_json")
            shown = {"json": json}
            changes = {"fields": parsed(json)}
        elif act == "save":
            changes["fields"] = documents_of(rows)
        else:
            moved, focus = changed_rows(rows, act)
            shown |= {"rows": moved, "focus": focus, "is_changed": True}
            return visit.render("form_fields.html", **_fields_shown(visit, form, **shown))
        await visit.api.ask(Form, *CHANGE, at=visit.path, body=changes)
    except Rejected as rejected:
        if json is None:
            shown["row_faults"] = faults_of_rows(Fault.from_rejection(rejected), len(rows))
        return visit.refused("form_fields.html", rejected, **_fields_shown(visit, form, **shown))
    return visit.go(_address(visit, FIELDS), "saved")


async def _form(visit: Visit) -> Form:
    return await visit.api.ask(Form, *FORM, at={"form_id": visit.path["form_id"]})


def _section(visit: Visit) -> Section:
    """The section that the address names, by itself the first one. Raises Rejected."""
    name = visit.path.get("section", GENERAL.name)
    for section in SECTIONS:
        if section.name == name:
            return section
    raise missing("page")


def _template(section: Section) -> str:
    return f"form_settings_{section.name}.html"


def _address(visit: Visit, section: Section) -> str:
    return _SECTION.format(form_id=visit.path["form_id"], section=section.name)


def _secret(visit: Visit) -> dict[str, str | None]:
    """The secret of Turnstile is not shown: one that is not typed anew stays."""
    if "forget_secret" in visit.form:
        return {_SECRET: None}
    return {_SECRET: visit.text(_SECRET)} if visit.text(_SECRET) else {}


def _frame(visit: Visit, form: Form, section: Section) -> dict[str, Any]:
    """What every section's page shows."""
    return {
        "form": form,
        "section": section,
        "sections": SECTIONS,
        "may_change": visit.api.may(*CHANGE),
    }


async def _shown(
    visit: Visit, form: Form, section: Section, changes: dict[str, Any]
) -> dict[str, Any]:
    """A section with the form's values, but for those that were sent."""
    context = _frame(visit, form, section)
    context["values"] = form.model_dump(mode="json") | changes
    if section is GENERAL:
        context |= {
            "statuses": STATUSES,
            "modes": MODES,
            "environments": await environment_choices(visit),
        }
    elif section is PROTECTION:
        settings = visit.services.settings
        context |= {
            "outages": _OUTAGES,
            "server_has_secret": settings.turnstile_secret is not None,
            "server_site_key": settings.turnstile_site_key,
        }
    elif visit.api.may(*_USAGE):
        context["retention_max"] = (await visit.api.ask(Usage, *_USAGE)).limits.retention_days
    return context


def _fields_shown(visit: Visit, form: Form, **shown: Any) -> dict[str, Any]:
    usual = {
        "types": [(kind.value, kind.value) for kind in FieldType],
        "rows": rows_of(form.fields),
        "row_faults": {},
        "rows_max": ROWS_MAX,
        "is_enforced": form.enforce_fields,
        "is_shown_whole": is_shown_whole(form.fields),
        "is_changed": False,
        "focus": None,
        "json": printed(form.fields),
        "json_is_open": "json" in shown,
    }
    context = _frame(visit, form, FIELDS) | usual | shown
    return context | {"has_room": len(context["rows"]) < ROWS_MAX}


_USED = (FORM, CHANGE, ENVIRONMENTS, _USAGE)
pages = (
    Page(method="GET", path=_SETTINGS, handler=show_section, uses=_USED),
    Page(method="GET", path=_FIELDS, handler=show_fields, uses=(FORM, CHANGE)),
    Page(method="POST", path=_FIELDS, handler=save_fields, uses=(FORM, CHANGE)),
    Page(method="GET", path=_SECTION, handler=show_section, uses=_USED),
    Page(method="POST", path=_SECTION, handler=save_section, uses=_USED),
)
