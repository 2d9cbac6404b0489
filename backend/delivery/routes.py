"""HTTP of deliveries."""

from backend.delivery.attempts import Delivery as Attempted
from backend.delivery.attempts import Kind
from backend.delivery.delivery_store import AttemptRow, DeliveryRow
from backend.delivery.schemas import (
    Delivery,
    DeliveryList,
    DeliveryQuery,
    DeliveryWithLog,
    ReplayCount,
    ReplayDeliveries,
    ReplayReport,
    ReplaySince,
)
from backend.operations import Call, Operation
from backend.paging import cut
from contracts.problems import Problem


async def list_deliveries(call: Call) -> DeliveryList:
    services = call.services
    webhook = await services.webhooks.get(call.principal, call.path["webhook_id"])
    query: DeliveryQuery = call.query
    rows = await services.deliveries.list_of_webhook(
        webhook.id, query.status, query.before("whd"), query.limit + 1
    )
    page, next_cursor = cut(rows, query.limit)
    return DeliveryList(data=[Delivery.of(row) for row in page], next_cursor=next_cursor)


async def get_delivery(call: Call) -> DeliveryWithLog:
    row = await call.services.deliveries.get(call.principal, call.path["delivery_id"])
    attempts = await call.services.deliveries.log_of(row.id)
    is_shown = call.principal.has("submissions:read")
    bodies = [await _body(call, row, attempt) if is_shown else None for attempt in attempts]
    return DeliveryWithLog.with_log(row, attempts, bodies)


async def _body(call: Call, row: DeliveryRow, attempt: AttemptRow) -> str | None:
    """What was sent at an attempt."""
    if row.kind != Kind.WEBHOOK.value or row.webhook_id is None:
        return None
    delivery = Attempted(
        id=row.id,
        account_id=row.account_id,
        kind=Kind.WEBHOOK,
        event=row.event,
        created_at=row.created_at,
        attempt=attempt.attempt,
        form_id=row.form_id,
        submission_id=row.submission_id,
        webhook_id=row.webhook_id,
    )
    content = await call.services.webhook_sender.body_of(delivery, attempt.started_at)
    return None if content is None else content.decode()


async def replay_delivery(call: Call) -> Delivery:
    row = await call.services.deliveries.replay(call.principal, call.path["delivery_id"])
    return Delivery.of(row)


async def replay_deliveries(call: Call) -> ReplayReport:
    body: ReplayDeliveries = call.body
    done = await call.services.deliveries.replay_all(call.principal, body.ids)
    return ReplayReport(replayed=done.ids, missing=done.missing)


async def replay_since(call: Call) -> ReplayCount:
    body: ReplaySince = call.body
    webhook = await call.services.webhooks.get(call.principal, call.path["webhook_id"])
    count, last = await call.services.deliveries.replay_since(
        call.principal, webhook.id, webhook.form_id, body.window()
    )
    return ReplayCount(replayed=count, last=last)


operations = (
    Operation(
        method="GET",
        path="/v1/webhooks/{webhook_id}/deliveries",
        handler=list_deliveries,
        summary="List the deliveries to a webhook, newest first",
        right="webhooks:read",
        query=DeliveryQuery,
        answer=DeliveryList,
    ),
    Operation(
        method="POST",
        path="/v1/webhooks/{webhook_id}/replay",
        handler=replay_since,
        summary="Send a webhook the submissions of a time that it has not acknowledged, or all",
        right="webhooks:manage",
        body=ReplaySince,
        answer=ReplayCount,
        problems=(Problem.CONFLICT,),
    ),
    Operation(
        method="POST",
        path="/v1/deliveries/replay",
        handler=replay_deliveries,
        summary="Repeat many deliveries",
        right="webhooks:manage",
        body=ReplayDeliveries,
        answer=ReplayReport,
        problems=(Problem.CONFLICT,),
    ),
    Operation(
        method="GET",
        path="/v1/deliveries/{delivery_id}",
        handler=get_delivery,
        summary="Read a delivery and its log",
        right="webhooks:read",
        answer=DeliveryWithLog,
    ),
    Operation(
        method="POST",
        path="/v1/deliveries/{delivery_id}/replay",
        handler=replay_delivery,
        summary="Repeat a delivery: a new one of the same, due at once",
        right="webhooks:manage",
        answer=Delivery,
        status=201,
        problems=(Problem.CONFLICT,),
    ),
)
