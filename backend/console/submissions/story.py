"""How a submission came to be where it is, in words: the checks of its post, and what went out."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from backend.console.formats import duration, host
from backend.delivery.attempts import AUTORESPONSE
from backend.delivery.schemas import Delivery
from backend.submissions.schemas import Submission, TraceRow
from backend.webhooks.schemas import Webhook

_IMPORT = "import"
_MS_MICROSECONDS = 1000
_PRECISE_MICROSECONDS = 100_000
_PAUSE_SECONDS, _LONG_PAUSE_SECONDS = 2, 10


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened. ``kind`` is ``good``, ``warn``, ``bad``, or nothing special."""

    title: str
    text: str
    kind: str = ""
    took: str = ""


@dataclass(frozen=True, slots=True)
class Sending:
    """A delivery: what it is, to whom, and how it went. ``kind`` is as that of a step."""

    delivery: Delivery
    what: str
    to: str
    state: str
    kind: str


_TITLES: Mapping[str, str] = MappingProxyType(
    {
        "form": "Form",
        "key": "API key",
        "probe": "Probe",
        "rate limit": "Rate limit",
        "body": "Body",
        "origin": "Origin",
        "idempotency": "Repetition",
        "honeypot": "Honeypot",
        "uploads": "Files",
        "fields": "Fields",
        "quota": "Quota",
        "turnstile": "Turnstile",
        _IMPORT: "Import",
    }
)
# What the gateway's checks say, and what that means to whoever owns the form.
_WORDS: Mapping[tuple[str, str], tuple[str, str]] = MappingProxyType(
    {
        ("form", "live"): ("", "The form was live."),
        ("key", "anonymous"): ("", "Sent without an API key, as visitors do."),
        ("key", "valid"): ("good", "Sent with a valid API key."),
        ("probe", "valid"): ("good", "Sent by formflow probe, to try the whole way."),
        ("rate limit", "admitted"): ("", "Within the limit for its sender."),
        ("body", "read"): ("", "It arrived whole and could be read."),
        ("origin", "allowed"): ("", "It came from a page that the form allows."),
        ("idempotency", "first"): ("", "The first with its idempotency key."),
        ("honeypot", "trapped"): (
            "warn",
            "The field that people do not see was filled in: filed as spam, unchecked further.",
        ),
        ("honeypot", "clear"): ("good", "The field that people do not see was left empty."),
        ("honeypot", "off"): ("", "The form has none."),
        ("uploads", "accepted"): ("", "The files are within the limits."),
        ("uploads", "none"): ("", "It came without any."),
        ("fields", "valid"): ("good", "All are as the form declares them."),
        ("quota", "open"): ("", "There was room in the month's quota."),
        ("turnstile", "passed"): ("good", "Cloudflare confirmed the visitor's token."),
        ("turnstile", "held"): (
            "warn",
            "Cloudflare could not be asked: held for review, as the form's settings say.",
        ),
        ("turnstile", "accepted-unverified"): (
            "warn",
            "Cloudflare could not be asked: accepted all the same, as the form's settings say.",
        ),
        ("turnstile", "skipped"): ("", "Not asked of this sender."),
    }
)
_FILED: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "received": ("good", "Filed as received."),
        "held": ("warn", "Held for review. Nothing goes out until you release it."),
        "spam": ("warn", "Filed as spam. Nothing goes out."),
    }
)
_STATES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "pending": ("info", "On its way"),
        "delivered": ("good", "Delivered"),
        "failed": ("bad", "Failed"),
        "parked": ("warn", "Parked"),
    }
)


def steps_of(submission: Submission) -> Sequence[Step]:
    """The checks in their order, and where they led."""
    kind, text = _FILED[submission.status.value]
    units = submission.trace.charged
    cost = f"It cost {units} of the month's quota." if units else "It cost nothing of the quota."
    return [*map(_step, submission.trace.checks), Step("Filed", f"{text} {cost}", kind)]


def _step(row: TraceRow) -> Step:
    if row.check == _IMPORT:
        return Step(_TITLES[_IMPORT], f"Imported {row.verdict}.")
    kind, text = _WORDS.get((row.check, row.verdict), ("", row.verdict))
    return Step(_TITLES.get(row.check, row.check), text, kind, took(row.microseconds))


def took(microseconds: int) -> str:
    """How long something took, in the unit that suits."""
    if microseconds < _MS_MICROSECONDS:
        return f"{microseconds} µs"
    if microseconds < _PRECISE_MICROSECONDS:
        return f"{microseconds / _MS_MICROSECONDS:.1f} ms"
    return duration(round(microseconds / _MS_MICROSECONDS))


def sendings_of(submission: Submission, webhooks: Mapping[str, Webhook]) -> Sequence[Sending]:
    """What went out because of a submission, or is to go out."""
    return [_sending(delivery, webhooks) for delivery in submission.deliveries]


def _sending(delivery: Delivery, webhooks: Mapping[str, Webhook]) -> Sending:
    target = delivery.target or ""
    what, to = "Notification", target
    if delivery.event == AUTORESPONSE:
        what = "Answer to the visitor"
    elif delivery.kind == "webhook":
        what = "Webhook"
        to = host(webhooks[target].url) if target in webhooks else target
    kind, state = _STATES[delivery.status]
    return Sending(delivery, what, to, state, kind)


def is_moving(submission: Submission) -> bool:
    """Whether what goes out because of it will change by itself soon."""
    return submission.trace.deliveries.waiting or submission.trace.deliveries.pending > 0


def pause_of(submission: Submission) -> int:
    """After how many seconds to look again. What has been attempted in vain waits longer."""
    is_new = not any(delivery.attempts for delivery in submission.deliveries)
    return _PAUSE_SECONDS if is_new else _LONG_PAUSE_SECONDS


def state_of(submission: Submission) -> str:
    """In a sentence, what became of what is to go out."""
    if submission.trace.deliveries.waiting:
        return "Whom to tell is being looked up."
    counts: Counter[str] = Counter(delivery.status for delivery in submission.deliveries)
    if counts:
        told = (
            f"{counts[name]} {state.lower()}"
            for name, (_, state) in _STATES.items()
            if counts[name]
        )
        return f"{', '.join(told)}."
    return _NOTHING_OUT[submission.status.value]


_NOTHING_OUT: Mapping[str, str] = MappingProxyType(
    {
        "received": "Nothing went out in the last 30 days.",
        "held": "Nothing goes out until you release it.",
        "spam": "Nothing goes out of spam.",
    }
)
