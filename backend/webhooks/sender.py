"""Makes one attempt at a webhook."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus

from backend.db import Database
from backend.delivery.attempts import (
    ANSWER_MAX_BYTES,
    WEBHOOK_TEST,
    Attempt,
    Delivery,
    Verdict,
)
from backend.delivery.subjects import Subject, find_subject
from backend.forms.store import FormRow, find_form_in
from backend.outbound.client import Answer, OutboundClient, OutboundError
from backend.submissions.links import FileLinks
from backend.transaction import Transaction
from backend.webhooks import chats, envelope, store
from backend.webhooks.headers import masked
from backend.webhooks.sealed import NoSecretKey, WebhookSealer
from backend.webhooks.signing import signature_headers
from backend.webhooks.store import WebhookRow

USER_AGENT = "FormFlow-Webhooks/1"
TIMEOUT_SECONDS = 10.0
_CHATS = {
    "slack": chats.slack_body,
    "discord": chats.discord_body,
    "telegram": chats.telegram_body,
}


@dataclass(frozen=True, slots=True)
class _Found:
    """A webhook with its form, and what it is told of; None if it is only tried out."""

    webhook: WebhookRow
    form: FormRow
    subject: Subject | None


@dataclass(frozen=True, slots=True)
class _Request:
    """What is sent; ``shown_headers`` are what the log has of the headers."""

    body: bytes
    headers: Mapping[str, str]
    shown_headers: Mapping[str, str]


class WebhookSender:
    """The ``Sender`` of webhooks: reads, builds, signs, posts, judges."""

    def __init__(
        self,
        database: Database,
        outbound: OutboundClient,
        sealer: WebhookSealer,
        links: FileLinks,
    ) -> None:
        self._database = database
        self._outbound = outbound
        self._sealer = sealer
        self._links = links

    async def send(self, delivery: Delivery, now_ms: int) -> Attempt:
        """See ``Sender``. A test is sent to a disabled webhook, too."""
        # Nothing of the database is held while the target takes its time.
        found = await self._database.look(partial(_find, delivery=delivery))
        if found is None:
            return Attempt(Verdict.OBSOLETE)
        webhook = found.webhook
        if not webhook.enabled and delivery.event != WEBHOOK_TEST:
            return Attempt(Verdict.FAILED, error="the webhook is disabled")
        try:
            request = self._request(found, delivery, now_ms)
        except NoSecretKey:
            return Attempt(
                Verdict.FAILED,
                error="the server cannot read the webhook's secret: FORMFLOW_SECRET_KEY is not the "
                "one that it was sealed with",
            )
        sent = Attempt(
            Verdict.FAILED, request_url=webhook.url, request_headers=request.shown_headers
        )
        try:
            answer = await self._outbound.post(
                webhook.url, request.body, request.headers, TIMEOUT_SECONDS
            )
        except OutboundError as error:
            return replace(sent, error=str(error))
        return _judged(sent, answer)

    async def body_of(self, delivery: Delivery, at_ms: int) -> bytes | None:
        """The body of an attempt that began then, made anew of what is there now; None if the
        webhook or what it was told of is gone. Raises Rejected(UNAVAILABLE)."""
        found = await self._database.look(partial(_find, delivery=delivery))
        return None if found is None else self._body(found, delivery, at_ms)

    def _request(self, found: _Found, delivery: Delivery, now_ms: int) -> _Request:
        """What to send. Raises NoSecretKey."""
        own = self._sealer.headers_of(found.webhook)
        secrets = self._sealer.secrets_of(found.webhook, now_ms)
        body = self._body(found, delivery, now_ms)
        ours = {
            "content-type": "application/json",
            "user-agent": USER_AGENT,
            "x-formflow-event": delivery.event,
            "x-formflow-delivery": delivery.id,
            "x-formflow-attempt": str(delivery.attempt),
            **signature_headers(body, secrets, delivery.id, now_ms // 1000),
        }
        return _Request(body, own | ours, masked(own) | ours)

    def _body(self, found: _Found, delivery: Delivery, now_ms: int) -> bytes:
        subject, in_chat = found.subject, _CHATS.get(found.webhook.format)
        if in_chat is not None:
            if subject is None:
                return in_chat(chats.ping_message(found.form.name))
            return in_chat(chats.message_of(subject))
        if subject is None:
            return envelope.ping_body(delivery.id, found.form.id, now_ms)
        return envelope.submission_body(delivery.id, subject, self._links, now_ms)


def _find(transaction: Transaction, delivery: Delivery) -> _Found | None:
    """What an attempt needs; None if part of it is gone."""
    account_id = delivery.account_id
    webhook = store.find_webhook_in(transaction, account_id, delivery.webhook_id or "")
    if webhook is None:
        return None
    if delivery.event == WEBHOOK_TEST:
        form = find_form_in(transaction, account_id, webhook.form_id)
        return None if form is None else _Found(webhook, form, None)
    subject = find_subject(transaction, account_id, delivery.submission_id or "")
    return None if subject is None else _Found(webhook, subject.form, subject)


def _judged(sent: Attempt, answer: Answer) -> Attempt:
    """The attempt with what its answer says."""
    # Whatever is not text is shown as such; a NUL is in no text of PostgreSQL.
    text = answer.content[:ANSWER_MAX_BYTES].decode(errors="replace").replace("\0", "\ufffd")
    attempt = replace(sent, status=answer.status, answer=text)
    if 200 <= answer.status < 300:
        return replace(attempt, verdict=Verdict.DELIVERED)
    error = f"the target answered {answer.status}"
    if 300 <= answer.status < 400:
        error += ", and redirects are not followed"
    is_gone = answer.status == HTTPStatus.GONE
    return replace(attempt, verdict=Verdict.GONE if is_gone else Verdict.FAILED, error=error)
