"""The story of one delivery: what happened when, and each attempt with what was sent and what came
back."""

from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

from backend.answers import missing
from backend.console.form_names import FORM
from backend.console.pages import Page
from backend.console.rendering import SECURITY_HEADERS
from backend.console.visits import Visit
from backend.console.webhooks.bodies import is_short, pretty
from backend.console.webhooks.subject import WEBHOOK, form_of
from backend.delivery.attempts import WEBHOOK_TEST
from backend.delivery.schemas import Delivery, DeliveryAttempt, DeliveryWithLog
from backend.webhooks.schemas import Webhook

DELIVERY = ("GET", "/v1/deliveries/{delivery_id}")
_REPLAY = ("POST", "/v1/deliveries/{delivery_id}/replay")


async def show_delivery(visit: Visit) -> Response:
    """The delivery with one attempt in full: the last, unless the address names another."""
    delivery = await _delivery(visit)
    webhook = None
    if delivery.kind == "webhook" and delivery.target is not None:
        webhook = await visit.api.ask(Webhook, *WEBHOOK, at={"webhook_id": delivery.target})
    number = _number(visit.query.get("attempt", str(len(delivery.log))))
    attempt = _attempt(delivery.log, number) if delivery.log else None
    return visit.render(
        "delivery.html",
        delivery=delivery,
        webhook=webhook,
        form=await form_of(visit, delivery.form_id),
        is_test=delivery.event == WEBHOOK_TEST,
        number=number,
        **shown_attempt(delivery, attempt, number),
    )


async def get_body(visit: Visit) -> Response:
    """What was sent at an attempt, byte for byte, as a file: visitors have written it, and nothing
    of it is to run here."""
    delivery = await _delivery(visit)
    number = _number(visit.path["number"])
    request = _attempt(delivery.log, number).request
    if request is None or request.body is None:
        raise missing("body")
    name = f'attachment; filename="{delivery.id}-{number}.json"'
    headers = {**SECURITY_HEADERS, "Content-Disposition": name}
    return Response(request.body.encode(), headers=headers, media_type="application/octet-stream")


async def replay(visit: Visit) -> Response:
    again = await visit.api.ask(Delivery, *_REPLAY, at=visit.path)
    return visit.go(f"/deliveries/{again.id}", "replay-begun")


def shown_attempt(
    delivery: Delivery, attempt: DeliveryAttempt | None, number: int
) -> dict[str, Any]:
    """An attempt as the template ``delivery_exchange.html`` shows it."""
    body = attempt.request.body if attempt is not None and attempt.request is not None else None
    return {
        "attempt": attempt,
        "pretty_body": None if body is None else pretty(body),
        "raw_body": body if body is not None and is_short(body) else None,
        "body_bytes": 0 if body is None else len(body.encode()),
        "body_url": f"/deliveries/{delivery.id}/attempts/{number}/body",
    }


async def _delivery(visit: Visit) -> DeliveryWithLog:
    at = {"delivery_id": visit.path["delivery_id"]}
    return await visit.api.ask(DeliveryWithLog, *DELIVERY, at=at)


def _attempt(log: Sequence[DeliveryAttempt], number: int) -> DeliveryAttempt:
    """The attempt that is the log's so manieth, from 1 on: what a crash interrupted is attempted
    again under the same number. Raises Rejected(NOT_FOUND)."""
    if not 1 <= number <= len(log):
        raise missing("attempt")
    return log[number - 1]


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else 0


pages = (
    Page(
        method="GET",
        path="/deliveries/{delivery_id}",
        handler=show_delivery,
        uses=(DELIVERY, WEBHOOK, FORM),
    ),
    Page(
        method="GET",
        path="/deliveries/{delivery_id}/attempts/{number}/body",
        handler=get_body,
        uses=(DELIVERY,),
    ),
    Page(method="POST", path="/deliveries/{delivery_id}/replay", handler=replay, uses=(_REPLAY,)),
)
