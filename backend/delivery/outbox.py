"""The outbox: what a transaction wants delivered, written in that very transaction."""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from backend.db import Connection
from backend.delivery import outbox_store
from backend.delivery.attempts import SUBMISSION_CREATED
from backend.transaction import Transaction
from contracts.ids import new_id
from contracts.submissions import Submission, SubmissionStatus


async def add_notice(
    connection: Connection,
    account_id: str,
    event: str,
    now_ms: int,
    *,
    form_id: str | None = None,
    **details: Any,
) -> None:
    """Tells the owners of an account by mail that ``event`` happened; ``details`` are plain values
    that its template names."""
    row = _row(account_id, form_id, event, now_ms) | {"details": orjson.dumps(details).decode()}
    await outbox_store.insert_outbox(connection, row)


async def add_letter(
    connection: Connection, account_id: str, event: str, recipient: str, sealed: str, now_ms: int
) -> None:
    """Has one mail sent to one address on behalf of an account; ``sealed`` is a JSON object, sealed
    with the installation's secret key, of what its template names."""
    details = orjson.dumps({"recipient": recipient, "sealed": sealed}).decode()
    row = _row(account_id, None, event, now_ms) | {"details": details}
    await outbox_store.insert_outbox(connection, row)


def add_notice_in(
    transaction: Transaction, account_id: str, event: str, now_ms: int, **details: Any
) -> None:
    """As ``add_notice``, for a transaction that is one synchronous function."""
    row = _row(account_id, None, event, now_ms) | {"details": orjson.dumps(details).decode()}
    outbox_store.insert_outbox_in(transaction, [row])


async def add_released(
    connection: Connection, account_id: str, form_id: str, ids: Iterable[str], now_ms: int
) -> None:
    """Hands submissions of one form to delivery which were not handed over at their commit."""
    row = _row(account_id, form_id, SUBMISSION_CREATED, now_ms)
    row["submission_ids"] = orjson.dumps(list(ids)).decode()
    await outbox_store.insert_outbox(connection, row)


def add_stored(
    transaction: Transaction,
    accepted: Iterable[Submission],
    forms: Mapping[str, Any],
    now_ms: int,
) -> bool:
    """Hands over what a batch stored: one row for each form that delivers anything, whatever the
    number of its submissions; whether there is any."""
    by_form: dict[str, list[str]] = {}
    for item in accepted:
        form = forms[item.form_id]
        if form.delivers and item.status == SubmissionStatus.RECEIVED.value:
            by_form.setdefault(item.form_id, []).append(item.id)
    if not by_form:
        return False
    rows = []
    for form_id, ids in by_form.items():
        row = _row(forms[form_id].account_id, form_id, SUBMISSION_CREATED, now_ms)
        rows.append(row | {"submission_ids": orjson.dumps(ids).decode()})
    outbox_store.insert_outbox_in(transaction, rows)
    return True


def _row(account_id: str, form_id: str | None, event: str, now_ms: int) -> dict[str, Any]:
    return {
        "id": new_id("out", now_ms),
        "account_id": account_id,
        "form_id": form_id,
        "event": event,
        "submission_ids": None,
        "details": None,
        "created_at": now_ms,
    }
