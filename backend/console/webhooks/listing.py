"""The webhooks of an account, and those of a form."""

from starlette.responses import Response

from backend.console.form_names import FORM, FORMS, form_names
from backend.console.pages import Page
from backend.console.paging import page_links, page_query
from backend.console.visits import Visit
from backend.console.webhooks.subject import form_of
from backend.webhooks.schemas import WebhookList

_ALL = ("GET", "/v1/webhooks")
_OF_FORM = ("GET", "/v1/forms/{form_id}/webhooks")


async def show_all(visit: Visit) -> Response:
    listed = await visit.api.ask(WebhookList, *_ALL, query=page_query(visit))
    names = await form_names(visit.api, {webhook.form_id for webhook in listed.data})
    return _rendered(visit, listed, form_names=names, form_id=None, form=None)


async def show_of_form(visit: Visit) -> Response:
    form_id = visit.path["form_id"]
    listed = await visit.api.ask(WebhookList, *_OF_FORM, at=visit.path, query=page_query(visit))
    form = await form_of(visit, form_id)
    return _rendered(visit, listed, form_names={}, form_id=form_id, form=form)


def _rendered(visit: Visit, listed: WebhookList, **context: object) -> Response:
    links = page_links(visit, listed.next_cursor)
    return visit.render("webhook_list.html", webhooks=listed.data, **links, **context)


pages = (
    Page(method="GET", path="/webhooks", handler=show_all, uses=(_ALL, FORMS)),
    Page(
        method="GET",
        path="/forms/{form_id}/webhooks",
        handler=show_of_form,
        uses=(_OF_FORM, FORM),
    ),
)
