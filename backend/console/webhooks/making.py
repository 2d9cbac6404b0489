"""Making a webhook, and the one page that shows its secret."""

from typing import Any

from starlette.responses import Response

from backend.console.form_names import FORM, FORMS
from backend.console.pages import Page
from backend.console.visits import Fault, Visit
from backend.console.webhooks.headers import header_rows, headers_of, posted_rows
from backend.forms.documents import Form, FormList
from backend.webhooks.schemas import CreatedWebhook
from contracts.problems import Rejected

_CREATE = ("POST", "/v1/forms/{form_id}/webhooks")
_FORMS_SHOWN = 100


async def show_new(visit: Visit) -> Response:
    visit.api.require(*_CREATE)
    form_id = visit.query.get("form_id", "")
    return visit.render("webhook_new.html", **await _asking(visit, form_id, "", "formflow"))


async def create(visit: Visit) -> Response:
    """Makes the webhook; the answer itself shows the secret, which nothing can show again."""
    form_id, url, format = visit.text("form_id"), visit.text("url"), visit.text("format")
    rows = posted_rows(visit)
    try:
        body = {"url": url, "format": format, "headers": headers_of(rows)}
        webhook = await visit.api.ask(CreatedWebhook, *_CREATE, at={"form_id": form_id}, body=body)
    except Rejected as rejected:
        fault = Fault.from_rejection(rejected)
        context = await _asking(visit, form_id, url, format, rows, fault)
        return visit.refused("webhook_new.html", rejected, **context)
    return visit.render("webhook_secret.html", 201, webhook=webhook, is_new=True)


async def _asking(
    visit: Visit,
    form_id: str,
    url: str,
    format: str,
    rows: list[tuple[str, str]] | None = None,
    fault: Fault | None = None,
) -> dict[str, Any]:
    """What the page shows: a form that is named is among those to choose from, even if it is none
    of the newest."""
    api, forms, has_more = visit.api, list[tuple[str, str]](), False
    if api.may(*FORMS):
        listed = await api.ask(FormList, *FORMS, query={"limit": _FORMS_SHOWN})
        forms, has_more = [(form.id, form.name) for form in listed.data], bool(listed.next_cursor)
        if has_more and form_id and form_id not in dict(forms):
            form = await api.ask(Form, *FORM, at={"form_id": form_id})
            forms.insert(0, (form.id, form.name))
    return {
        "forms": forms,
        "has_more_forms": has_more,
        "form_id": form_id,
        "url": url,
        "format": format,
        "rows": header_rows(rows or [], fault),
    }


pages = (
    Page(method="GET", path="/webhooks/new", handler=show_new, uses=(_CREATE, FORMS, FORM)),
    Page(method="POST", path="/webhooks/new", handler=create, uses=(_CREATE, FORMS, FORM)),
)
