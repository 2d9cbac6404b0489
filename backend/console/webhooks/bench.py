"""The test bench: sends a signed ping, and shows what was sent beside what came back."""

from starlette.responses import Response

from backend.answers import missing
from backend.console.pages import Page
from backend.console.visits import Visit
from backend.console.webhooks.deliveries import DELIVERY, shown_attempt
from backend.console.webhooks.subject import SUBJECT, subject_of
from backend.console.webhooks.verifiers import verifiers
from backend.delivery.schemas import DeliveryWithLog
from backend.webhooks.schemas import WebhookOutcome
from contracts.problems import Rejected

_TEST = ("POST", "/v1/webhooks/{webhook_id}/test")
_PATH = "/webhooks/{webhook_id}/test"
_TEMPLATE = "webhook_test.html"


async def show_bench(visit: Visit) -> Response:
    visit.api.require(*_TEST)
    subject = await subject_of(visit)
    delivery_id, delivery, shown = visit.query.get("delivery"), None, {}
    if delivery_id is not None:
        delivery = await _tested(visit, delivery_id)
        shown = shown_attempt(delivery, delivery.log[0] if delivery.log else None, 1)
    return visit.render(_TEMPLATE, **subject, verifiers=verifiers(), delivery=delivery, **shown)


async def send_test(visit: Visit) -> Response:
    try:
        outcome = await visit.api.ask(WebhookOutcome, *_TEST, at=visit.path)
    except Rejected as rejected:
        subject = await subject_of(visit)
        return visit.refused(_TEMPLATE, rejected, **subject, verifiers=verifiers(), delivery=None)
    return visit.go(f"/webhooks/{visit.path['webhook_id']}/test", delivery=outcome.delivery_id)


async def _tested(visit: Visit, delivery_id: str) -> DeliveryWithLog:
    """What a test of this webhook has sent. Raises Rejected(NOT_FOUND)."""
    at = {"delivery_id": delivery_id}
    delivery = await visit.api.ask(DeliveryWithLog, *DELIVERY, at=at)
    if delivery.target != visit.path["webhook_id"]:
        raise missing("delivery")
    return delivery


pages = (
    Page(method="GET", path=_PATH, handler=show_bench, uses=(_TEST, *SUBJECT, DELIVERY)),
    Page(method="POST", path=_PATH, handler=send_test, uses=(_TEST, *SUBJECT)),
)
