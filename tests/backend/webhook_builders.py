"""Webhooks, and deliveries to them."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest_asyncio

from backend.delivery.attempts import SUBMISSION_CREATED, Delivery, Kind
from backend.delivery.delivery_store import insert_deliveries
from backend.delivery.store import delivery_row
from backend.management import Services
from contracts.ids import new_id
from tests.backend.builders import Account
from tests.support.webhook_sink import WebhookSink, webhook_sink

CLOSED = "http://127.0.0.1:2/hook"
"""Where nobody listens."""


@pytest_asyncio.fixture
async def sink() -> AsyncIterator[WebhookSink]:
    """A receiver."""
    async with webhook_sink() as listening:
        yield listening


async def create_webhook(client: httpx.AsyncClient, form_id: str, **members: Any) -> dict[str, Any]:
    """Creates a webhook through the API."""
    answer = await client.post(f"/v1/forms/{form_id}/webhooks", json={"url": CLOSED} | members)
    assert answer.status_code == 201, answer.text
    document: dict[str, Any] = answer.json()
    return document


def delivery_of(
    services: Services, account_id: str, webhook: dict[str, Any], submission_id: str, **members: Any
) -> Delivery:
    """A delivery of a submission to a webhook."""
    now_ms = services.clock.now_ms()
    given: dict[str, Any] = {
        "id": new_id("whd", now_ms),
        "account_id": account_id,
        "kind": Kind.WEBHOOK,
        "event": SUBMISSION_CREATED,
        "created_at": now_ms,
        "form_id": webhook["form_id"],
        "submission_id": submission_id,
        "webhook_id": webhook["id"],
    }
    return Delivery(**given | members)


async def add_delivery(
    services: Services, account: Account, webhook: dict[str, Any], submission_id: str
) -> str:
    """Adds a delivery that is due; its id."""
    delivery = delivery_of(services, account.principal.account_id, webhook, submission_id)
    row = delivery_row(delivery, webhook["id"], delivery.created_at)
    async with services.database.write() as connection:
        await insert_deliveries(connection, [row])
    return delivery.id
