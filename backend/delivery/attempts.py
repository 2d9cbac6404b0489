"""What the core of delivery and its senders say to each other."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

SUBMISSION_CREATED = "submission.created"
"""A submission was accepted, or released after it was held or taken for spam."""
AUTORESPONSE = "submission.autoresponse"
"""The visitor who posted it is to be answered."""
WEBHOOK_TEST = "webhook.test"
QUOTA_REACHED = "quota.reached"
WEBHOOK_DISABLED = "webhook.disabled"
FORM_SILENT = "form.silent"
FORM_UNSUBSCRIBED = "form.unsubscribed"
ACCOUNT_SIGN_IN = "account.sign_in"
ACCOUNT_INVITATION = "account.invitation"

ANSWER_MAX_BYTES = 4096
"""Of an answer, the log keeps so much."""


class Kind(Enum):
    """How something is delivered."""

    WEBHOOK = "webhook"
    MAIL = "mail"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to one target.

    ``attempt`` counts from 1; ``created_at`` and ``details`` (of a notice; plain values) are those
    of the event. ``recipient`` is the one address of a mail.
    """

    id: str
    account_id: str
    kind: Kind
    event: str
    created_at: int
    attempt: int = 1
    form_id: str | None = None
    submission_id: str | None = None
    webhook_id: str | None = None
    recipient: str | None = None
    details: Mapping[str, object] = field(default_factory=dict)


class Verdict(Enum):
    """What an attempt came to.

    ``FAILED`` is attempted again as the schedule says, ``REFUSED`` never: the target has said for
    good that it will not have it. ``GONE`` is that of a webhook that wants nothing any more: it is
    disabled. ``AWAY`` is for a relay of the operator's own that cannot be reached: the attempt does
    not count. ``OBSOLETE``: what was to be delivered, or its target, does not exist any more.
    """

    DELIVERED = "delivered"
    FAILED = "failed"
    REFUSED = "refused"
    GONE = "gone"
    AWAY = "away"
    OBSOLETE = "obsolete"


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a sender reports.

    ``status`` is that of HTTP or SMTP, if there was an answer; ``error`` is one line that says
    what went wrong, for the owner to read; ``answer`` the beginning of the answer as text, at most
    ``ANSWER_MAX_BYTES`` of it. ``request_url`` and ``request_headers`` are what was sent, with the
    values of headers that carry credentials masked.
    """

    verdict: Verdict
    status: int | None = None
    error: str | None = None
    answer: str | None = None
    request_url: str | None = None
    request_headers: Mapping[str, str] | None = None


class Sender(Protocol):
    """Carries out deliveries of one kind."""

    async def send(self, delivery: Delivery, now_ms: int) -> Attempt:
        """Makes one attempt, within its own bound of time; what it says is stamped ``now_ms``.

        Whatever the target does comes back as a verdict. Raises Rejected(UNAVAILABLE) if the
        database cannot be read: the attempt was none then.
        """
