"""What a probe came to: its hops, and what is to be done about those that did not work."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

Document = Mapping[str, Any]

_GOOD = frozenset({"stored", "readable", "delivered"})
_DELIVERIES = ("webhook", "mail", "outbox")
_ADVICE = {
    "accept": "no visitor can post: mend what it names, or start the gateway",
    "queued": "the gateway cannot reach the backend: start it, or check FORMFLOW_BACKEND_URL",
    "store": "start the backend, and see formflow doctor",
    "webhook": "mend the receiver, or the webhook's URL",
    "mail": "check FORMFLOW_SMTP_URL and the address",
    "outbox": "no backend delivers: look into its log",
}


@dataclass(frozen=True, slots=True)
class Hop:
    """One hop. ``ms`` is what the post took, then until it could be read, and for a delivery the
    time since the post was received; ``error`` is one line."""

    hop: str
    target: str
    status: str
    ms: int | None = None
    attempts: int | None = None
    error: str | None = None

    @property
    def complaint(self) -> str | None:
        """What is wrong and what to do, if anything is wrong."""
        if self.status in _GOOD:
            return None
        what = f"{self.hop} {self.target}".strip()
        why = f" ({self.error.rstrip('.')})" if self.error else ""
        advice = _ADVICE.get(self.status) or _ADVICE[self.hop]
        return f"{what}: {self.status}{why}: {advice}"


@dataclass(slots=True)
class Report:
    """What became of a probe; ``notes`` say what else there is to know."""

    form_id: str
    marker: str
    submission_id: str | None = None
    hops: list[Hop] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def has_deliveries(self) -> bool:
        """Whether anything was, or is to be, delivered."""
        return any(hop.hop in _DELIVERIES for hop in self.hops)

    @property
    def problem(self) -> str | None:
        """What is wrong, in one line; None if nothing is."""
        complaints = [hop.complaint for hop in self.hops]
        return "; ".join(filter(None, complaints)) or None

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {"ok": self.problem is None, "problem": self.problem} | asdict(self)


def has_ended(submission: Document) -> bool:
    """Whether nothing of the submission is still to be delivered."""
    return not _waits(submission) and all(
        delivery["status"] != "pending" for delivery in _deliveries(submission)
    )


def delivery_hops(submission: Document) -> list[Hop]:
    """A hop for each delivery."""
    received_at = _moment(submission["received_at"])
    hops = [_hop(delivery, received_at) for delivery in _deliveries(submission)]
    if _waits(submission):
        hops.append(Hop("outbox", "", "pending"))
    return hops


def why_undelivered(form: Document, submission: Document) -> str:
    """Why there are no deliveries."""
    if form["mode"] == "test":
        return "Nothing is delivered: the form is in mode test."
    if submission["status"] != "received":
        return f"Nothing is delivered: the submission is filed as {submission['status']}."
    return "Nothing is delivered: the form has no webhook that is enabled and no notify_emails."


def _hop(delivery: Document, received_at: datetime) -> Hop:
    finished_at = delivery["finished_at"]
    return Hop(
        hop=delivery["kind"],
        target=delivery["target"],
        status=delivery["status"],
        ms=finished_at and round((_moment(finished_at) - received_at).total_seconds() * 1000),
        attempts=delivery["attempts"],
        error=None if delivery["status"] == "delivered" else delivery["last_error"],
    )


def _deliveries(submission: Document) -> Sequence[Document]:
    # A backend of an older release delivers nothing.
    found: Sequence[Document] = submission.get("deliveries", ())
    return found


def _waits(submission: Document) -> bool:
    return bool(submission["trace"].get("deliveries", {}).get("waiting"))


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
