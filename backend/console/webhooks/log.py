"""A webhook with the log of its deliveries, which renews itself, and sending again."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from starlette.responses import Response

from backend.console.pages import Page
from backend.console.paging import page_links, page_query
from backend.console.rendering import SECURITY_HEADERS
from backend.console.visits import Visit
from backend.console.webhooks.subject import SUBJECT, WEBHOOK, subject_of
from backend.delivery.attempts import WEBHOOK_TEST
from backend.delivery.schemas import Delivery, DeliveryList, ReplayCount, ReplayReport
from backend.schemas import parse_moment
from backend.webhooks.schemas import Webhook
from contracts.problems import Rejected
from contracts.runtime.clock import iso

_DELIVERIES = ("GET", "/v1/webhooks/{webhook_id}/deliveries")
_REPLAY_MANY = ("POST", "/v1/deliveries/replay")
_REPLAY_SINCE = ("POST", "/v1/webhooks/{webhook_id}/replay")
# Each of ten thousand.
_ROUNDS_MAX = 10
_TEMPLATE = "webhook.html"
_PERIODS = (
    ("The last hour", timedelta(hours=1)),
    ("The last 24 hours", timedelta(days=1)),
    ("The last 7 days", timedelta(days=7)),
    ("The last 30 days", timedelta(days=30)),
)
# What a browser gives for a point in time (HTML, "local date and time").
_TYPED_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,3})?)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Entry:
    """A delivery in the log: how many milliseconds it took from its making to its end, and whether
    the reader has not seen it yet."""

    delivery: Delivery
    took_ms: int | None
    is_new: bool

    @property
    def can_be_replayed(self) -> bool:
        """Whether it can be sent again: of a test there is nothing to send."""
        return self.delivery.event != WEBHOOK_TEST


async def show_webhook(visit: Visit) -> Response:
    return visit.render(_TEMPLATE, **await _shown(visit))


async def show_log(visit: Visit) -> Response:
    """The log alone, for a page that is open; nothing if that shows the same already."""
    listed = await _deliveries(visit)
    if visit.query.get("seen") == _mark(listed.data):
        return Response(status_code=204, headers=SECURITY_HEADERS)
    webhook = await visit.api.ask(Webhook, *WEBHOOK, at=visit.path)
    return visit.render("webhook_log_again.html", webhook=webhook, **_log(visit, listed))


async def replay_ticked(visit: Visit) -> Response:
    ids = [str(id) for id in visit.form.getlist("id")]
    if not ids:
        return _back(visit, "nothing-ticked")
    report = await visit.api.ask(ReplayReport, *_REPLAY_MANY, body={"ids": ids})
    return _replayed(visit, len(report.replayed), "replayed")


async def replay_since(visit: Visit) -> Response:
    """Sends a time again: one that was chosen, or one that was typed, in UTC."""
    typed = visit.text("typed_since")
    body = {"since": _time(typed) if typed else visit.text("since"), "which": visit.text("which")}
    if typed_until := visit.text("until"):
        body["until"] = _time(typed_until)
    try:
        count, has_more = await _replay_all(visit, body)
    except Rejected as rejected:
        return visit.refused(_TEMPLATE, rejected, **await _shown(visit))
    return _replayed(visit, count, "replayed-part" if has_more else "replayed")


async def _replay_all(visit: Visit, body: dict[str, str]) -> tuple[int, bool]:
    """Goes on as long as there is more, within reason; how many, and whether there is still."""
    count, last = 0, ""
    for _ in range(_ROUNDS_MAX):
        after = {"after": last} if last else {}
        report = await visit.api.ask(ReplayCount, *_REPLAY_SINCE, at=visit.path, body=body | after)
        count, last = count + report.replayed, report.last or ""
        if not last:
            break
    return count, bool(last)


async def _shown(visit: Visit) -> dict[str, Any]:
    subject = await subject_of(visit)
    return {
        **subject,
        "periods": _periods(visit.services.clock.now_ms(), subject["webhook"]),
        **_log(visit, await _deliveries(visit)),
    }


async def _deliveries(visit: Visit) -> DeliveryList:
    query = page_query(visit, status=_status(visit))
    return await visit.api.ask(DeliveryList, *_DELIVERIES, at=visit.path, query=query)


def _log(visit: Visit, listed: DeliveryList) -> dict[str, Any]:
    """What the log shows. Ids are in the order of time: what is after the newest that the reader
    has seen is new."""
    seen = visit.query.get("newest")
    entries = [
        Entry(each, _took_ms(each), seen is not None and each.id > seen) for each in listed.data
    ]
    status = _status(visit)
    return {
        "entries": entries,
        "news": sum(entry.is_new for entry in entries),
        "chosen": status,
        # Older pages stay as they are.
        "is_live": "cursor" not in visit.query,
        "seen": _mark(listed.data),
        "newest": listed.data[0].id if listed.data else "",
        **page_links(visit, listed.next_cursor, status=status),
    }


def _status(visit: Visit) -> str:
    return visit.query.get("status", "")


def _took_ms(delivery: Delivery) -> int | None:
    if delivery.finished_at is None:
        return None
    return parse_moment(delivery.finished_at) - parse_moment(delivery.created_at)


def _mark(deliveries: Sequence[Delivery]) -> str:
    """What changes with all that the log shows of them."""
    shown = [f"{each.id} {each.status} {each.attempts}" for each in deliveries]
    return hashlib.sha256("\n".join(shown).encode()).hexdigest()[:16]


def _periods(now_ms: int, webhook: Webhook) -> list[tuple[str, str]]:
    """When the times begin that can be chosen, each with its name."""
    periods = [
        (iso(now_ms - period // timedelta(milliseconds=1)), name) for name, period in _PERIODS
    ]
    if webhook.failing_since is not None:
        periods.insert(0, (webhook.failing_since, "Since it began to fail"))
    return periods


def _time(typed: str) -> str:
    """A time that was typed, as the API has it; it finds fault with what is none."""
    return f"{typed}Z" if _TYPED_TIME.fullmatch(typed) else typed


def _replayed(visit: Visit, count: int, notice: str) -> Response:
    return _back(visit, notice, count=str(count)) if count else _back(visit, "nothing-to-replay")


def _back(visit: Visit, notice: str, **query: str) -> Response:
    return visit.go(f"/webhooks/{visit.path['webhook_id']}", notice, **query)


pages = (
    Page(
        method="GET",
        path="/webhooks/{webhook_id}",
        handler=show_webhook,
        uses=(*SUBJECT, _DELIVERIES),
    ),
    Page(
        method="GET",
        path="/webhooks/{webhook_id}/log",
        handler=show_log,
        uses=(WEBHOOK, _DELIVERIES),
    ),
    Page(
        method="POST",
        path="/webhooks/{webhook_id}/replay-ticked",
        handler=replay_ticked,
        uses=(_REPLAY_MANY,),
    ),
    Page(
        method="POST",
        path="/webhooks/{webhook_id}/replay",
        handler=replay_since,
        uses=(_REPLAY_SINCE, *SUBJECT, _DELIVERIES),
    ),
)
