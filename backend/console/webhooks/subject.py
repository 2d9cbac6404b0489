"""The webhook that a page is about."""

from typing import TypedDict

from backend.console.form_names import FORM
from backend.console.visits import Visit
from backend.forms.documents import Form
from backend.webhooks.schemas import Webhook

WEBHOOK = ("GET", "/v1/webhooks/{webhook_id}")
SUBJECT = (WEBHOOK, FORM)
"""What ``subject_of`` uses."""


class Subject(TypedDict):
    """A webhook, and its form, for those who may read that."""

    webhook: Webhook
    form: Form | None


async def subject_of(visit: Visit) -> Subject:
    """The webhook that the page's path names. Raises Rejected(NOT_FOUND)."""
    webhook = await visit.api.ask(Webhook, *WEBHOOK, at=visit.path)
    return Subject(webhook=webhook, form=await form_of(visit, webhook.form_id))


async def form_of(visit: Visit, form_id: str | None) -> Form | None:
    """A form; None for those who may not read forms."""
    if form_id is None or not visit.api.may(*FORM):
        return None
    return await visit.api.ask(Form, *FORM, at={"form_id": form_id})
