"""Rules of webhooks: targets that may be called, secrets shown once, and what disabling does.

Gateways know nothing of webhooks: no change of one needs a new revision of the configuration.
"""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any
from urllib.parse import parse_qs, urlsplit

from backend.access import Principal
from backend.answers import invalid, missing
from backend.audit.record import record
from backend.db import Connection, Database
from backend.delivery.attempts import WEBHOOK_TEST, Attempt, Delivery, Kind
from backend.delivery.bulk_store import park
from backend.delivery.doorbell import Doorbell
from backend.delivery.store import insert_finished
from backend.forms.store import find_form, lock_form
from backend.outbound.client import TargetForbidden
from backend.outbound.targets import checked_target
from backend.webhooks import store
from backend.webhooks.sealed import WebhookSealer
from backend.webhooks.sender import WebhookSender
from backend.webhooks.signing import new_secret
from backend.webhooks.store import WebhookRow
from contracts.ids import is_id, new_id
from contracts.problems import Problem, Rejected
from contracts.runtime.clock import Clock
from contracts.runtime.settings import Settings

WEBHOOKS_MAX = 20
BOTH_SIGN_MS = 24 * 3600 * 1000
TESTS_MAX = 10
TESTS_MS = 60 * 1000
DISABLED_BY_OWNER = "It was disabled by hand."
_REMOVED_AT_ONCE = 500


class WebhookService:
    """The webhooks of forms, as far as a credential reaches these."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        settings: Settings,
        sealer: WebhookSealer,
        sender: WebhookSender,
        doorbell: Doorbell,
    ) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        self._sealer = sealer
        self._sender = sender
        self._doorbell = doorbell

    async def create(
        self, principal: Principal, form_id: str, members: Mapping[str, Any]
    ) -> tuple[WebhookRow, str]:
        """A new webhook of a form, and its secret, which is never shown again. ``members`` are
        ``url``, ``format``, ``events``, ``enabled`` and ``headers``.

        Raises:
            Rejected: NOT_FOUND; VALIDATION_ERROR for a target that may not be called; CONFLICT if
                the form has no room for another, or the server keeps no secrets.
        """
        if not is_id(form_id, "frm"):
            raise missing("form")
        async with self._database.write() as connection:
            # Held: of webhooks created at once, the last sees all others.
            form = await lock_form(connection, principal.account_id, principal.reach, form_id)
            if form is None:
                raise missing("form")
            self._check_target(members["url"], members["format"])
            if await store.count_webhooks(connection, form_id) >= WEBHOOKS_MAX:
                most = f"A form has {WEBHOOKS_MAX} webhooks at most. Delete one first."
                raise Rejected(Problem.CONFLICT, most)
            now_ms, secret = self._clock.now_ms(), new_secret()
            row = WebhookRow(
                id=new_id("wh", now_ms),
                account_id=principal.account_id,
                form_id=form_id,
                url=members["url"],
                format=members["format"],
                events=members["events"],
                enabled=members["enabled"],
                disabled_reason=None if members["enabled"] else DISABLED_BY_OWNER,
                headers=self._sealer.seal_values(members["headers"]),
                secret=self._sealer.seal(secret),
                created_at=now_ms,
                updated_at=now_ms,
            )
            await store.insert_webhook(connection, row)
            details = {"form_id": form_id, "format": row.format, "host": _host_of(row.url)}
            await record(connection, principal, "webhook.created", row.id, now_ms, **details)
        return row, secret

    async def list(
        self,
        principal: Principal,
        form_id: str | None,
        before: str | None,
        limit: int,
        *,
        only_failing: bool = False,
    ) -> Sequence[WebhookRow]:
        """The webhooks of a form, or of all, newest first. Raises Rejected(NOT_FOUND)."""
        account_id, reach = principal.account_id, principal.reach
        async with self._database.read() as connection:
            if form_id is not None:
                form = None
                if is_id(form_id, "frm"):
                    form = await find_form(connection, account_id, reach, form_id)
                if form is None:
                    raise missing("form")
            return await store.list_webhooks(
                connection,
                account_id,
                reach,
                form_id,
                before,
                limit,
                only_failing=only_failing,
            )

    async def get(self, principal: Principal, id: str) -> WebhookRow:
        """One webhook. Raises Rejected(NOT_FOUND)."""
        webhook = None
        if is_id(id, "wh"):
            async with self._database.read() as connection:
                webhook = await store.find_webhook(
                    connection, principal.account_id, principal.reach, id
                )
        if webhook is None:
            raise missing("webhook")
        return webhook

    async def change(self, principal: Principal, id: str, changes: Mapping[str, Any]) -> WebhookRow:
        """The webhook with the named members changed. Disabling it parks what is pending; enabling
        it makes that due and forgets its failures.

        Raises:
            Rejected: NOT_FOUND; VALIDATION_ERROR for a target that may not be called; CONFLICT if
                the server keeps no secrets, and headers are named.
        """
        held = await self.get(principal, id)
        if not changes:
            return held
        async with self._database.write() as connection:
            if changes.get("enabled") is False:
                # Deliveries before their webhook, as whoever records attempts locks them.
                await park(connection, id)
            webhook = await self._lock(connection, principal, id)
            now_ms = self._clock.now_ms()
            values = self._stored(webhook, changes) | {"updated_at": now_ms}
            row = await store.update_webhook(connection, id, values)
            if row.enabled and not webhook.enabled:
                await store.unpark_deliveries(connection, id, now_ms)
            members = sorted(changes)
            await record(connection, principal, "webhook.changed", id, now_ms, members=members)
        self._doorbell.ring()
        return row

    async def rotate_secret(self, principal: Principal, id: str) -> tuple[WebhookRow, str]:
        """Gives the webhook a new secret; the one before it signs, too, for 24 hours.

        Raises:
            Rejected: NOT_FOUND; CONFLICT if the server keeps no secrets.
        """
        await self.get(principal, id)
        secret = new_secret()
        sealed = self._sealer.seal(secret)
        async with self._database.write() as connection:
            webhook = await self._lock(connection, principal, id)
            now_ms = self._clock.now_ms()
            values = {
                "secret": sealed,
                "previous_secret": webhook.secret,
                "previous_secret_until": now_ms + BOTH_SIGN_MS,
                "updated_at": now_ms,
            }
            row = await store.update_webhook(connection, id, values)
            await record(connection, principal, "webhook.secret_rotated", id, now_ms)
        return row, secret

    async def delete(self, principal: Principal, id: str) -> None:
        """Deletes a webhook with its deliveries and their log. Of many, the rest is removed behind
        it; nobody reaches any of it from then on. Raises Rejected(NOT_FOUND)."""
        await self.get(principal, id)
        async with self._database.write() as connection:
            await store.remove_deliveries(connection, id, _REMOVED_AT_ONCE)
            webhook = await self._lock(connection, principal, id)
            await store.delete_webhook(connection, id)
            details = {"form_id": webhook.form_id, "host": _host_of(webhook.url)}
            now_ms = self._clock.now_ms()
            await record(connection, principal, "webhook.deleted", id, now_ms, **details)

    async def test(self, principal: Principal, id: str) -> tuple[Delivery, Attempt, int]:
        """Makes one attempt at the webhook, enabled or not, and logs it: the delivery, what came of
        it, and how many milliseconds it took. It counts for nothing else.

        Raises:
            Rejected: NOT_FOUND; RATE_LIMITED after ten tests of the webhook within a minute.
        """
        webhook = await self.get(principal, id)
        started_ms, started = self._clock.now_ms(), self._clock.monotonic()
        await self._check_pace(id, started_ms)
        delivery = Delivery(
            id=new_id("whd", started_ms),
            account_id=webhook.account_id,
            kind=Kind.WEBHOOK,
            event=WEBHOOK_TEST,
            created_at=started_ms,
            form_id=webhook.form_id,
            webhook_id=id,
        )
        attempt = await self._sender.send(delivery, started_ms)
        took_ms = round((self._clock.monotonic() - started) * 1000)
        async with self._database.write() as connection:
            # It may have been deleted meanwhile.
            await self._lock(connection, principal, id)
            await insert_finished(connection, delivery, id, attempt, started_ms, took_ms)
            details = {"verdict": attempt.verdict.value, "status": attempt.status}
            now_ms = self._clock.now_ms()
            await record(connection, principal, "webhook.tested", id, now_ms, **details)
        return delivery, attempt, took_ms

    async def body_of(self, delivery: Delivery, at_ms: int) -> bytes | None:
        """What was sent at an attempt that began then, made anew of a submission, which the caller
        knows to be the principal's; None if it, or the webhook, is gone."""
        return await self._sender.body_of(delivery, at_ms)

    async def sweep(self) -> None:
        """Removes what is left of the deliveries of deleted webhooks. Raises
        Rejected(UNAVAILABLE)."""
        async with self._database.read() as connection:
            deleted = await store.deleted_webhooks(connection)
        for id in deleted:
            removed = _REMOVED_AT_ONCE
            while removed == _REMOVED_AT_ONCE:
                async with self._database.write() as connection:
                    removed = await store.remove_deliveries(connection, id, _REMOVED_AT_ONCE)

    def _stored(self, webhook: WebhookRow, changes: Mapping[str, Any]) -> dict[str, Any]:
        """What to store for the changes of a webhook. Raises Rejected."""
        values = dict(changes)
        if "url" in values or "format" in values:
            self._check_target(values.get("url", webhook.url), values.get("format", webhook.format))
        if "headers" in values:
            values["headers"] = self._sealer.seal_values(values["headers"])
        if values.get("enabled") is False and webhook.enabled:
            values["disabled_reason"] = DISABLED_BY_OWNER
        if values.get("enabled") is True and not webhook.enabled:
            values |= {"disabled_reason": None, "failures_in_row": 0, "failing_since": None}
        return values

    def _check_target(self, url: str, format: str) -> None:
        try:
            checked_target(
                url,
                allow_http=self._settings.webhook_allow_http,
                allowed_networks=self._settings.webhook_allow_cidrs,
            )
        except TargetForbidden as error:
            message = f"This target may not be called: {error}."
            raise invalid("url", "forbidden_target", message) from None
        if format == "telegram" and "chat_id" not in parse_qs(urlsplit(url).query):
            raise invalid(
                "url", "no_chat", "One for Telegram names the chat: …/sendMessage?chat_id=…"
            )

    async def _check_pace(self, id: str, now_ms: int) -> None:
        async with self._database.read() as connection:
            tests = await store.tests_since(connection, id, now_ms - TESTS_MS, TESTS_MAX)
        if len(tests) == TESTS_MAX:
            wait = max(1, ceil((tests[-1] + TESTS_MS - now_ms) / 1000))
            raise Rejected(
                Problem.RATE_LIMITED,
                f"A webhook is tested {TESTS_MAX} times a minute at most. Try again in {wait} s.",
                headers={"Retry-After": str(wait)},
                retry_after=wait,
            )

    async def _lock(self, connection: Connection, principal: Principal, id: str) -> WebhookRow:
        webhook = await store.lock_webhook(connection, principal.account_id, principal.reach, id)
        if webhook is None:
            raise missing("webhook")
        return webhook


def _host_of(url: str) -> str:
    """What may be said of a target: its path may be a secret, as those of chats are."""
    return urlsplit(url).hostname or ""
