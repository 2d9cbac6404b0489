"""HTTP of webhooks."""

from backend.delivery.attempts import Verdict
from backend.operations import Call, Operation
from backend.paging import cut
from backend.webhooks.schemas import (
    CreatedWebhook,
    NewWebhook,
    Webhook,
    WebhookChanges,
    WebhookList,
    WebhookOutcome,
    WebhookQuery,
)
from contracts.problems import Problem


async def list_webhooks(call: Call) -> WebhookList:
    return await _listed(call, None)


async def list_form_webhooks(call: Call) -> WebhookList:
    return await _listed(call, call.path["form_id"])


async def create_webhook(call: Call) -> CreatedWebhook:
    new: NewWebhook = call.body
    row, secret = await call.services.webhooks.create(
        call.principal, call.path["form_id"], new.members()
    )
    return CreatedWebhook.of(row, secret=secret)


async def get_webhook(call: Call) -> Webhook:
    return Webhook.of(await call.services.webhooks.get(call.principal, call.path["webhook_id"]))


async def change_webhook(call: Call) -> Webhook:
    changes: WebhookChanges = call.body
    row = await call.services.webhooks.change(
        call.principal, call.path["webhook_id"], changes.named()
    )
    return Webhook.of(row)


async def delete_webhook(call: Call) -> None:
    await call.services.webhooks.delete(call.principal, call.path["webhook_id"])


async def rotate_webhook_secret(call: Call) -> CreatedWebhook:
    row, secret = await call.services.webhooks.rotate_secret(
        call.principal, call.path["webhook_id"]
    )
    return CreatedWebhook.of(row, secret=secret)


async def test_webhook(call: Call) -> WebhookOutcome:
    delivery, attempt, took_ms = await call.services.webhooks.test(
        call.principal, call.path["webhook_id"]
    )
    return WebhookOutcome(
        delivery_id=delivery.id,
        delivered=attempt.verdict is Verdict.DELIVERED,
        status=attempt.status,
        duration_ms=took_ms,
        error=attempt.error,
        answer=attempt.answer,
    )


async def _listed(call: Call, form_id: str | None) -> WebhookList:
    query: WebhookQuery = call.query
    rows = await call.services.webhooks.list(
        call.principal,
        form_id,
        query.before("wh"),
        query.limit + 1,
        only_failing=query.failing == "true",
    )
    page, next_cursor = cut(rows, query.limit)
    return WebhookList(data=[Webhook.of(row) for row in page], next_cursor=next_cursor)


operations = (
    Operation(
        method="GET",
        path="/v1/webhooks",
        handler=list_webhooks,
        summary="List the webhooks of all forms, newest first",
        right="webhooks:read",
        query=WebhookQuery,
        answer=WebhookList,
    ),
    Operation(
        method="GET",
        path="/v1/forms/{form_id}/webhooks",
        handler=list_form_webhooks,
        summary="List a form's webhooks, newest first",
        right="webhooks:read",
        query=WebhookQuery,
        answer=WebhookList,
    ),
    Operation(
        method="POST",
        path="/v1/forms/{form_id}/webhooks",
        handler=create_webhook,
        summary="Create a webhook; the answer alone shows its secret",
        right="webhooks:manage",
        body=NewWebhook,
        answer=CreatedWebhook,
        status=201,
        problems=(Problem.CONFLICT,),
    ),
    Operation(
        method="GET",
        path="/v1/webhooks/{webhook_id}",
        handler=get_webhook,
        summary="Read a webhook",
        right="webhooks:read",
        answer=Webhook,
    ),
    Operation(
        method="PATCH",
        path="/v1/webhooks/{webhook_id}",
        handler=change_webhook,
        summary="Change a webhook, disable it, or enable it again",
        right="webhooks:manage",
        body=WebhookChanges,
        answer=Webhook,
        problems=(Problem.CONFLICT,),
    ),
    Operation(
        method="DELETE",
        path="/v1/webhooks/{webhook_id}",
        handler=delete_webhook,
        summary="Delete a webhook with its deliveries and their log",
        right="webhooks:manage",
        status=204,
    ),
    Operation(
        method="POST",
        path="/v1/webhooks/{webhook_id}/rotate-secret",
        handler=rotate_webhook_secret,
        summary="Give a webhook a new secret; the old one signs, too, for 24 hours",
        right="webhooks:manage",
        answer=CreatedWebhook,
        problems=(Problem.CONFLICT,),
    ),
    Operation(
        method="POST",
        path="/v1/webhooks/{webhook_id}/test",
        handler=test_webhook,
        summary="Send a signed ping to a webhook, and wait for its outcome",
        right="webhooks:manage",
        answer=WebhookOutcome,
        problems=(Problem.RATE_LIMITED,),
    ),
)
