"""What can be changed of a webhook: where it leads, its headers, its secret, whether it is on, and
that it is there at all."""

from typing import Any

from starlette.responses import Response

from backend.console.api import Name
from backend.console.pages import Handler, Page
from backend.console.visits import Fault, Visit
from backend.console.webhooks.headers import header_rows, headers_of, posted_rows
from backend.console.webhooks.subject import SUBJECT, Subject, subject_of
from backend.webhooks.schemas import CreatedWebhook, Webhook
from contracts.problems import Rejected
from contracts.runtime.clock import iso

_CHANGE = ("PATCH", "/v1/webhooks/{webhook_id}")
_ROTATE = ("POST", "/v1/webhooks/{webhook_id}/rotate-secret")
_DELETE = ("DELETE", "/v1/webhooks/{webhook_id}")
_SETTINGS = "/webhooks/{webhook_id}/settings"
_TEMPLATE = "webhook_settings.html"


async def show_settings(visit: Visit) -> Response:
    visit.api.require(*_CHANGE)
    return visit.render(_TEMPLATE, **_shown(visit, await subject_of(visit)))


async def save_settings(visit: Visit) -> Response:
    values = {"url": visit.text("url"), "format": visit.text("format")}
    try:
        await visit.api.ask(Webhook, *_CHANGE, at=visit.path, body=values)
    except Rejected as rejected:
        context = _shown(visit, await subject_of(visit)) | values
        return visit.refused(_TEMPLATE, rejected, **context)
    return visit.go(_page(visit, "settings"), "saved")


async def save_headers(visit: Visit) -> Response:
    """Replaces all headers: nobody can read those that are there."""
    rows = posted_rows(visit)
    try:
        await visit.api.ask(Webhook, *_CHANGE, at=visit.path, body={"headers": headers_of(rows)})
    except Rejected as rejected:
        context = _shown(visit, await subject_of(visit))
        context["rows"] = header_rows(rows, Fault.from_rejection(rejected))
        return visit.refused(_TEMPLATE, rejected, **context)
    return visit.go(_page(visit, "settings"), "saved")


async def enable(visit: Visit) -> Response:
    await visit.api.ask(Webhook, *_CHANGE, at=visit.path, body={"enabled": True})
    return visit.go(_page(visit), "webhook-enabled")


async def disable(visit: Visit) -> Response:
    await visit.api.ask(Webhook, *_CHANGE, at=visit.path, body={"enabled": False})
    return visit.go(_page(visit), "webhook-disabled")


async def ask_to_rotate(visit: Visit) -> Response:
    visit.api.require(*_ROTATE)
    return visit.render("webhook_rotate.html", **_shown(visit, await subject_of(visit)))


async def rotate(visit: Visit) -> Response:
    """Makes a new secret; the answer itself shows it, which nothing can show again."""
    webhook = await visit.api.ask(CreatedWebhook, *_ROTATE, at=visit.path)
    return visit.render("webhook_secret.html", webhook=webhook, is_new=False)


async def ask_to_delete(visit: Visit) -> Response:
    visit.api.require(*_DELETE)
    return visit.render("webhook_delete.html", **await subject_of(visit))


async def delete(visit: Visit) -> Response:
    await visit.api.call(*_DELETE, at=visit.path)
    return visit.go("/webhooks", "webhook-deleted")


def _shown(visit: Visit, subject: Subject) -> dict[str, Any]:
    """What the pages show: of headers the names, as their values cannot be had."""
    webhook = subject["webhook"]
    until = webhook.previous_secret_until
    is_rotating = until is not None and iso(visit.services.clock.now_ms()) < until
    return {
        **subject,
        "url": webhook.url,
        "format": webhook.format,
        "rows": header_rows([(name, "") for name in webhook.headers]),
        "both_sign_until": until if is_rotating else None,
    }


def _page(visit: Visit, name: str = "") -> str:
    path = f"/webhooks/{visit.path['webhook_id']}"
    return f"{path}/{name}" if name else path


def _action(name: str, handler: Handler, *uses: Name) -> Page:
    return Page(method="POST", path=f"/webhooks/{{webhook_id}}/{name}", handler=handler, uses=uses)


pages = (
    Page(method="GET", path=_SETTINGS, handler=show_settings, uses=(_CHANGE, *SUBJECT)),
    _action("settings", save_settings, _CHANGE, *SUBJECT),
    _action("headers", save_headers, _CHANGE, *SUBJECT),
    _action("enable", enable, _CHANGE),
    _action("disable", disable, _CHANGE),
    Page(
        method="GET",
        path="/webhooks/{webhook_id}/rotate-secret",
        handler=ask_to_rotate,
        uses=(_ROTATE, *SUBJECT),
    ),
    _action("rotate-secret", rotate, _ROTATE),
    Page(
        method="GET",
        path="/webhooks/{webhook_id}/delete",
        handler=ask_to_delete,
        uses=(_DELETE, *SUBJECT),
    ),
    _action("delete", delete, _DELETE),
)
