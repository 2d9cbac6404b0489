"""What the server tells the owners of an account, and the letters that let people in."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from backend.delivery.attempts import (
    ACCOUNT_INVITATION,
    ACCOUNT_SIGN_IN,
    FORM_SILENT,
    FORM_UNSUBSCRIBED,
    QUOTA_REACHED,
    WEBHOOK_DISABLED,
    Delivery,
)
from backend.mail.letter import Letter, NamedAddress
from backend.mail.rendering import rendered
from backend.mail.words import moment, one_line, without_links
from backend.schemas import parse_moment

_DETAIL_MAX = 200


@dataclass(frozen=True, slots=True)
class _Words:
    """A notice; names in braces stand for the event's details. ``button`` is the label of the link
    that the detail ``link`` is."""

    subject: str
    paragraphs: tuple[str, ...]
    button: str | None = None


_NOTICES: Mapping[str, _Words] = MappingProxyType(
    {
        QUOTA_REACHED: _Words(
            "{percent} % of this month's submissions are used",
            (
                "Your account has used {used} of the {limit} submissions that its plan has for "
                "{month}.",
                "At 100 % submissions are refused until the next month begins, and those who post "
                "are told so. A plan with more of them takes effect at once.",
            ),
        ),
        WEBHOOK_DISABLED: _Words(
            "A webhook was disabled: {host}",
            (
                "The webhook {webhook_id} to {host} receives nothing any more. {reason}",
                "What was still to be delivered is kept. Once the receiver works again, enable the "
                "webhook: formflow webhooks change {webhook_id} --enabled",
            ),
        ),
        FORM_SILENT: _Words(
            "No submissions for {days} days: {form_name}",
            (
                "The form {form_name} used to receive submissions, and has had none since {since}.",
                "That may be all right. But often a page was changed and the form on it no longer "
                "posts to the right address: send a test through the page to be sure.",
            ),
        ),
        FORM_UNSUBSCRIBED: _Words(
            "{address} gets no more mails of {form_name}",
            (
                "{address} unsubscribed by the link in a mail, and was taken out of the addresses "
                "that the form {form_name} notifies.",
                "If that was a mistake, add it again: formflow forms change {form_id} "
                "--notify-emails …",
            ),
        ),
        ACCOUNT_SIGN_IN: _Words(
            "Your link to sign in to FormFlow",
            (
                "Somebody, you we hope, asked for a link to sign in with this address.",
                "It works once, for {minutes} minutes. If it was not you, nothing needs to be "
                "done: without the link nobody gets in.",
            ),
            "Sign in",
        ),
        ACCOUNT_INVITATION: _Words(
            "{invited_by} invites you to {account_name}",
            (
                "{invited_by} invites you to the FormFlow account {account_name}.",
                "The invitation holds for {hours} hours. If you do not know what it is about, "
                "ignore this mail.",
            ),
            "Accept the invitation",
        ),
    }
)

SEALED = frozenset({ACCOUNT_SIGN_IN, ACCOUNT_INVITATION})
"""Events whose details are ``{"sealed": …}``: a link in them lets in whoever has it."""


def is_notice(event: str) -> bool:
    """Whether there are words for an event."""
    return event in _NOTICES


def is_lapsed(delivery: Delivery, details: Mapping[str, Any], now_ms: int) -> bool:
    """Whether the link that a letter brings has ended: it works for so many ``minutes`` or
    ``hours`` from the event on."""
    minutes = details.get("minutes", 0) + 60 * details.get("hours", 0)
    return delivery.event in SEALED and now_ms >= delivery.created_at + minutes * 60_000


def notice(
    delivery: Delivery, details: Mapping[str, Any], sender: NamedAddress, now_ms: int
) -> Letter:
    """The mail about an event to the delivery's recipient. ``details`` are those of the event, in
    clear.

    Raises:
        KeyError: a detail is missing that the event must have.
    """
    words = _NOTICES[delivery.event]
    shown = {name: _shown(name, value) for name, value in details.items()}
    if delivery.event == ACCOUNT_INVITATION:
        # Whoever invites chooses both the name and who reads it.
        shown["account_name"] = without_links(shown["account_name"])
    shown["form_id"] = delivery.form_id or ""
    subject = words.subject.format_map(shown)
    values = {
        "subject": subject,
        "paragraphs": [paragraph.format_map(shown) for paragraph in words.paragraphs],
        "button": words.button,
        "link": str(details["link"]) if words.button else None,
    }
    text, html = rendered("notice", values)
    return Letter(
        id=delivery.id,
        account_id=delivery.account_id,
        sender=sender,
        recipient=delivery.recipient or "",
        subject=subject,
        text=text,
        html=html,
        sent_at=now_ms,
    )


def _shown(name: str, value: Any) -> str:
    text = moment(parse_moment(value)) if name == "since" else str(value)
    return one_line(text, _DETAIL_MAX)
