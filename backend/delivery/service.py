"""Rules of deliveries: whose they are, and what is delivered again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from backend.access import Principal
from backend.answers import missing
from backend.audit.record import record
from backend.db import Connection, Database
from backend.delivery import delivery_store, store
from backend.delivery.attempts import SUBMISSION_CREATED, WEBHOOK_TEST, Delivery, Kind
from backend.delivery.delivery_store import AttemptRow, DeliveryRow, ReplayWindow
from backend.delivery.doorbell import Doorbell
from backend.delivery.expansion import MAIL
from contracts.ids import is_id, new_id
from contracts.problems import Problem, Rejected
from contracts.runtime.clock import Clock

REPLAYS_MAX = 10_000
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Replayed:
    """The ids of new deliveries, and those that there is nothing of to replay."""

    ids: list[str]
    missing: list[str]


class DeliveryService:
    """The deliveries of what is within a principal's reach."""

    def __init__(self, database: Database, clock: Clock, doorbell: Doorbell) -> None:
        self._database = database
        self._clock = clock
        self._doorbell = doorbell

    async def get(self, principal: Principal, id: str) -> DeliveryRow:
        """One delivery. Raises Rejected(NOT_FOUND)."""
        if not is_id(id, "whd"):
            raise missing("delivery")
        async with self._database.read() as connection:
            found = await delivery_store.find_deliveries(connection, principal, [id])
        if not found:
            raise missing("delivery")
        return found[0]

    async def log_of(self, id: str) -> Sequence[AttemptRow]:
        """The attempts of a delivery, which the caller knows to be the principal's, in order."""
        async with self._database.read() as connection:
            return await delivery_store.attempts_of(connection, id)

    async def list_of_webhook(
        self, webhook_id: str, status: str | None, before: str | None, limit: int
    ) -> Sequence[DeliveryRow]:
        """Deliveries to a webhook, which the caller knows to be the principal's, newest first."""
        async with self._database.read() as connection:
            return await delivery_store.deliveries_of_webhook(
                connection, webhook_id, status, before, limit
            )

    async def of_submissions(
        self, ids: Sequence[str]
    ) -> tuple[Mapping[str, Sequence[DeliveryRow]], frozenset[str]]:
        """The deliveries of each of these submissions, which the caller knows to be the
        principal's, and those of the submissions that still wait in the outbox."""
        async with self._database.read() as connection:
            found = await delivery_store.deliveries_of_submissions(connection, ids)
            waiting = await delivery_store.waiting(connection, ids)
        return found, waiting

    async def replay(self, principal: Principal, id: str) -> DeliveryRow:
        """A new delivery of the same, due at once.

        Raises:
            Rejected: NOT_FOUND, CONFLICT if its webhook is disabled.
        """
        replayed = await self.replay_all(principal, [id])
        if not replayed.ids:
            raise missing("delivery")
        return await self.get(principal, replayed.ids[0])

    async def replay_all(self, principal: Principal, ids: Sequence[str]) -> Replayed:
        """As ``replay``, for those that there are of many, in one transaction."""
        wanted = [id for id in dict.fromkeys(ids) if is_id(id, "whd")]
        async with self._database.write() as connection:
            rows = await delivery_store.find_deliveries(connection, principal, wanted)
            rows = [row for row in rows if row.event != WEBHOOK_TEST]
            webhooks = {row.webhook_id for row in rows if row.webhook_id is not None}
            await _check_enabled(connection, webhooks)
            now_ms = self._clock.now_ms()
            again = [_again(row, now_ms) for row in rows]
            await delivery_store.insert_deliveries(
                connection,
                [
                    store.delivery_row(delivery, row.webhook_id or MAIL, now_ms, row.id)
                    for row, delivery in zip(rows, again, strict=True)
                ],
            )
            if again:
                target = rows[0].id if len(rows) == 1 else None
                await record(
                    connection, principal, "delivery.replayed", target, now_ms, count=len(again)
                )
        self._doorbell.ring()
        known = {row.id for row in rows}
        return Replayed([delivery.id for delivery in again], [id for id in ids if id not in known])

    async def replay_since(
        self, principal: Principal, webhook_id: str, form_id: str, window: ReplayWindow
    ) -> tuple[int, str | None]:
        """Delivers the form's received submissions of a window again to a webhook, which the caller
        knows to be the principal's, oldest first; how many, and the last one if there may be more.

        Raises:
            Rejected: CONFLICT if the webhook is disabled.
        """
        count = 0
        while count < REPLAYS_MAX:
            async with self._database.write() as connection:
                await _check_enabled(connection, {webhook_id})
                now_ms = self._clock.now_ms()
                found = await delivery_store.submissions_to_replay(
                    connection, webhook_id, form_id, window, _AT_ONCE
                )
                rows = [
                    _replay(principal.account_id, webhook_id, form_id, *each, now_ms)
                    for each in found
                ]
                await delivery_store.insert_deliveries(connection, rows)
                if rows:
                    await record(
                        connection,
                        principal,
                        "delivery.replayed",
                        webhook_id,
                        now_ms,
                        count=len(rows),
                    )
            self._doorbell.ring()
            count += len(rows)
            if len(found) < _AT_ONCE:
                return count, None
            window = replace(window, after=found[-1][0])
        return count, window.after


def _replay(
    account_id: str,
    webhook_id: str,
    form_id: str,
    submission_id: str,
    replay_of: str | None,
    now_ms: int,
) -> dict[str, Any]:
    """A new delivery of a submission to a webhook, as it is stored."""
    delivery = Delivery(
        id=new_id("whd", now_ms),
        account_id=account_id,
        kind=Kind.WEBHOOK,
        event=SUBMISSION_CREATED,
        created_at=now_ms,
        form_id=form_id,
        submission_id=submission_id,
        webhook_id=webhook_id,
    )
    return store.delivery_row(delivery, webhook_id, now_ms, replay_of)


def _again(row: DeliveryRow, now_ms: int) -> Delivery:
    return Delivery(
        id=new_id("whd", now_ms),
        account_id=row.account_id,
        kind=Kind(row.kind),
        event=row.event,
        created_at=now_ms,
        form_id=row.form_id,
        submission_id=row.submission_id,
        webhook_id=row.webhook_id,
        recipient=row.recipient,
    )


async def _check_enabled(connection: Connection, webhook_ids: set[str]) -> None:
    disabled = await delivery_store.disabled_webhooks(connection, webhook_ids)
    if disabled:
        raise Rejected(
            Problem.CONFLICT,
            f"The webhook {disabled[0]} is disabled: enable it first.",
        )
