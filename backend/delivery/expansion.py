"""Makes deliveries of what the outbox holds: of each submission one to every webhook of its form
that wants it, one to every address that is told, and the answer to its visitor; of each notice one
to every owner."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from backend.accounts.store import owner_emails_in
from backend.delivery import outbox_store, store
from backend.delivery.attempts import AUTORESPONSE, SUBMISSION_CREATED, Delivery, Kind
from backend.mail.autoresponse import address_digest, autoresponse_recipient
from backend.transaction import Transaction
from contracts.ids import new_id
from contracts.usage import day_of

MAIL = "mail"
"""The target of every mail: the operator's relay."""
ROWS = 32
"""Of the outbox, so many rows are expanded in one transaction."""
_TEST_MODE = "test"
_RECIPIENT = "recipient"


@dataclass(slots=True)
class _Made:
    """The rows to insert."""

    now_ms: int
    deliveries: list[dict[str, Any]] = field(default_factory=list)
    autoresponses: list[dict[str, Any]] = field(default_factory=list)

    def add(self, row: Any, kind: Kind, target: str, **members: Any) -> None:
        """Adds a delivery of what a row of the outbox says."""
        delivery = Delivery(
            id=new_id("whd", self.now_ms),
            account_id=row.account_id,
            kind=kind,
            created_at=row.created_at,
            form_id=row.form_id,
            **{"event": row.event} | members,
        )
        self.deliveries.append(store.delivery_row(delivery, target, self.now_ms))


def expand(transaction: Transaction, most: int, now_ms: int) -> bool:
    """Makes deliveries of the oldest rows of the outbox, ``most`` of them; whether there may be
    more. Raises Conflict if another backend answers the same visitor at this moment."""
    rows = outbox_store.take_outbox(transaction, most)
    _expand(transaction, rows, now_ms)
    return len(rows) == most


def expand_row(transaction: Transaction, id: str, now_ms: int) -> None:
    """As ``expand``, of one row; nothing if somebody else has it."""
    _expand(transaction, outbox_store.take_outbox_row(transaction, id), now_ms)


def _expand(transaction: Transaction, rows: Sequence[Any], now_ms: int) -> None:
    made = _Made(now_ms)
    _expand_submissions(transaction, [row for row in rows if row.submission_ids], made)
    for row in rows:
        if not row.submission_ids:
            _expand_notice(transaction, row, made)
    if made.deliveries:
        store.insert_deliveries(transaction, made.deliveries)
    if made.autoresponses:
        outbox_store.insert_autoresponses(transaction, made.autoresponses)


def _expand_submissions(transaction: Transaction, rows: Sequence[Any], made: _Made) -> None:
    if not rows:
        return
    form_ids = {row.form_id for row in rows}
    forms = {
        id: form
        for id, form in outbox_store.delivering_forms(transaction, form_ids).items()
        if form.mode != _TEST_MODE
    }
    webhooks: dict[str, list[str]] = {}
    for webhook in outbox_store.delivering_webhooks(transaction, forms):
        if SUBMISSION_CREATED in orjson.loads(webhook.events):
            webhooks.setdefault(webhook.form_id, []).append(webhook.id)
    for row in rows:
        form = forms.get(row.form_id)
        if form is None:
            continue
        addresses = [address for address in form.notify_emails.split(",") if address]
        for id in orjson.loads(row.submission_ids):
            for webhook_id in webhooks.get(form.id, ()):
                made.add(row, Kind.WEBHOOK, webhook_id, submission_id=id, webhook_id=webhook_id)
            for address in addresses:
                made.add(row, Kind.MAIL, MAIL, submission_id=id, recipient=address)
    answering = [row for row in rows if _answers(forms.get(row.form_id))]
    if answering:
        _expand_autoresponses(transaction, answering, made)


def _answers(form: Any) -> bool:
    return form is not None and form.autoresponse_enabled


def _expand_autoresponses(transaction: Transaction, rows: Sequence[Any], made: _Made) -> None:
    """One for an address and a form a day, the first of each."""
    row_of = {id: row for row in rows for id in orjson.loads(row.submission_ids)}
    recipients = {
        found.id: recipient
        for found in outbox_store.payloads(transaction, row_of)
        if (recipient := autoresponse_recipient(orjson.loads(found.payload))) is not None
    }
    day = day_of(made.now_ms)
    digests = {id: address_digest(recipient) for id, recipient in recipients.items()}
    answered = outbox_store.answered_on(transaction, set(digests.values()), day)
    for id, recipient in recipients.items():
        row, digest = row_of[id], digests[id]
        if (row.form_id, digest) in answered:
            continue
        answered.add((row.form_id, digest))
        made.autoresponses.append({"form_id": row.form_id, "address": digest, "day": day})
        made.add(row, Kind.MAIL, MAIL, event=AUTORESPONSE, submission_id=id, recipient=recipient)


def _expand_notice(transaction: Transaction, row: Any, made: _Made) -> None:
    details: Mapping[str, Any] = orjson.loads(row.details)
    for address in _recipients(transaction, row.account_id, details):
        made.add(row, Kind.MAIL, MAIL, recipient=address, details=details)


def _recipients(
    transaction: Transaction, account_id: str, details: Mapping[str, Any]
) -> Iterable[str]:
    """The one whom a letter is for, or the account's owners."""
    if _RECIPIENT in details:
        return [details[_RECIPIENT]]
    return owner_emails_in(transaction, account_id)
