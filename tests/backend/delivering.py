"""A dispatcher with senders that a test decides for."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from sqlalchemy import insert, select

from backend.delivery.attempts import Attempt, Delivery, Kind, Verdict
from backend.delivery.dispatcher import Dispatcher
from backend.delivery.recorder import DeliveryCounts, Recorder
from backend.delivery.schedule import Schedule
from backend.delivery.targets import Targets
from backend.forms.store import FormRow
from backend.management import Services
from backend.rest import Rest
from backend.tables import deliveries, webhooks
from contracts.ids import new_id

GOOD = Attempt(Verdict.DELIVERED, status=200)
BAD = Attempt(Verdict.FAILED, status=500, error="the target answered 500")
_DEADLINE_SECONDS = 20.0

Reply = Callable[[Delivery], Awaitable[Attempt]]


@dataclass
class FakeSender:
    """Keeps what it is given, and answers as ``reply`` says."""

    reply: Reply
    sent: list[Delivery] = field(default_factory=list)

    async def send(self, delivery: Delivery, now_ms: int) -> Attempt:
        self.sent.append(delivery)
        return await self.reply(delivery)


def always(attempt: Attempt) -> Reply:
    async def reply(_: Delivery) -> Attempt:
        return attempt

    return reply


@asynccontextmanager
async def delivering(
    services: Services, reply: Reply, *, attempts: int = 5
) -> AsyncIterator[FakeSender]:
    """Delivers while the block runs, webhooks and mails alike, without jitter."""
    sender = FakeSender(reply)
    schedule = Schedule((1, 10, 60, 600), attempts, lambda low, high: 1.0)
    rest = Rest(lambda: 0, 1.0, 0.0, 0.0)
    recorder = Recorder(services.database, services.clock, schedule, rest)
    dispatcher = Dispatcher(
        services.database,
        services.clock,
        {Kind.WEBHOOK: sender, Kind.MAIL: sender},
        recorder,
        services.doorbell,
        Targets(services.clock, 1024),
        rest,
        DeliveryCounts(),
    )
    tasks = [asyncio.create_task(dispatcher.run()), asyncio.create_task(recorder.run())]
    try:
        yield sender
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await dispatcher.finish()


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Waits for a condition; fails after a deadline."""
    async with asyncio.timeout(_DEADLINE_SECONDS):
        while not await condition():
            await asyncio.sleep(0.005)


async def add_webhook(services: Services, form: FormRow, **members: object) -> str:
    now_ms = services.clock.now_ms()
    row = {
        "id": new_id("wh", now_ms),
        "account_id": form.account_id,
        "form_id": form.id,
        "url": "https://example.com/hook",
        "format": "formflow",
        "events": '["submission.created"]',
        "enabled": True,
        "secret": "sealed",
        "created_at": now_ms,
        "updated_at": now_ms,
    } | members
    async with services.database.write() as connection:
        await connection.execute(insert(webhooks).values(row))
    return str(row["id"])


async def statuses(services: Services) -> dict[str, str]:
    """The status of each delivery."""
    async with services.database.read() as connection:
        rows = await connection.execute(select(deliveries.c.id, deliveries.c.status))
        return {row.id: row.status for row in rows}


async def all_are(services: Services, status: str, count: int) -> bool:
    found = await statuses(services)
    return len(found) == count and set(found.values()) == {status}
