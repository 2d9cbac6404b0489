"""The forms of an account, and making one."""

from typing import Any

from starlette.responses import Response

from backend.console.forms.operations import CREATE, ENVIRONMENTS, FORMS
from backend.console.pages import Page
from backend.console.paging import page_links, page_query
from backend.console.visits import Visit
from backend.environments.routes import EnvironmentList
from backend.forms.documents import Form, FormList
from backend.usage.schemas import FormUsageList
from contracts.problems import Rejected

STATUSES = (("live", "Live"), ("paused", "Paused"), ("draft", "Draft"))
MODES = (("live", "Live: real submissions"), ("test", "Test: free, and delivers nothing"))
_USAGE = ("GET", "/v1/usage/forms")
_NEW_MEMBERS = ("name", "slug", "environment", "mode", "status")
_AT_ONCE = 25
_ENVIRONMENTS_AT_ONCE = 100


async def show_forms(visit: Visit) -> Response:
    filters = {name: visit.query.get(name, "") for name in ("status", "environment")}
    query: dict[str, Any] = page_query(visit, **filters) | {"limit": _AT_ONCE}
    listed = await visit.api.ask(FormList, *FORMS, query=query)
    usage = None
    if visit.api.may(*_USAGE):
        found = await visit.api.ask(FormUsageList, *_USAGE, query=query)
        usage = {each.form_id: each for each in found.data}
    return visit.render(
        "form_list.html",
        forms=listed.data,
        usage=usage,
        filters=filters,
        statuses=STATUSES,
        environments=await environment_choices(visit),
        **page_links(visit, listed.next_cursor, **filters),
    )


async def show_new_form(visit: Visit) -> Response:
    visit.api.require(*CREATE)
    return visit.render("form_new.html", **await _choices(visit, {}))


async def create_form(visit: Visit) -> Response:
    body = {name: text for name in _NEW_MEMBERS if (text := visit.text(name))}
    try:
        form = await visit.api.ask(Form, *CREATE, body={"name": ""} | body)
    except Rejected as rejected:
        return visit.refused("form_new.html", rejected, **await _choices(visit, body))
    return visit.go(f"/forms/{form.id}", "form-created")


async def environment_choices(visit: Visit) -> list[tuple[str, str]]:
    """The environments that a form can belong to, each with its title."""
    query = {"limit": _ENVIRONMENTS_AT_ONCE}
    listed = await visit.api.ask(EnvironmentList, *ENVIRONMENTS, query=query)
    return sorted((each.name, each.name.capitalize()) for each in listed.data)


async def _choices(visit: Visit, values: dict[str, str]) -> dict[str, Any]:
    usual = {"name": "", "slug": "", "environment": "production", "mode": "live", "status": "live"}
    return {
        "values": usual | values,
        "statuses": STATUSES,
        "modes": MODES,
        "environments": await environment_choices(visit),
        "address": f"{visit.services.settings.public_origin()}/v1/f/",
    }


pages = (
    Page(
        method="GET",
        path="/forms",
        handler=show_forms,
        uses=(FORMS, ENVIRONMENTS, _USAGE, CREATE),
    ),
    Page(method="POST", path="/forms", handler=create_form, uses=(CREATE, ENVIRONMENTS)),
    Page(method="GET", path="/forms/new", handler=show_new_form, uses=(CREATE, ENVIRONMENTS)),
)
