"""The answer to a visitor who leaves an address: whom it goes to, and what it says.

Whoever posts chooses where it goes, so it must be of no use for sending others something. It holds
a visitor's values only where the owner's template names them, each on one line, cut, and such that
nothing in it becomes a link.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from backend.forms.mail import is_address
from backend.forms.store import FormRow
from backend.mail.letter import Letter, NamedAddress
from backend.mail.placeholders import Payload, filled
from backend.mail.rendering import rendered
from backend.mail.words import one_line, without_links

_FIELD = "email"
_VALUE_MAX = 100
_SUBJECT = "Thank you for your message"
_MESSAGE = (
    "Hello,\n\nthank you for your message. We have received it and will get back to you.\n\n"
    "This is an automatic answer."
)
# Nobody reads there, or a program answers (RFC 3834, 2).
_NOT_PEOPLE = re.compile(
    r"(mailer-daemon|postmaster|no-?reply|do-?not-?reply|bounces?|owner-.*|.*-request)@",
    re.IGNORECASE,
)


def sole_address(payload: Mapping[str, Any]) -> str | None:
    """The visitor's address: the value of the field ``email``, if it is one address."""
    value = payload.get(_FIELD)
    address = value.strip() if isinstance(value, str) else ""
    return address if is_address(address) else None


def autoresponse_recipient(payload: Mapping[str, Any]) -> str | None:
    """Whom a submission is answered, if its form answers: never a program."""
    address = sole_address(payload)
    return None if address is None or _NOT_PEOPLE.match(address) else address


def address_digest(address: str) -> str:
    """What tells, in hex, whether a form has answered an address: the same however it is spelt,
    and for every tag (``ada+shop@``), because all of these reach one person."""
    local, _, domain = address.lower().rpartition("@")
    return hashlib.sha256(f"{local.partition('+')[0]}@{domain}".encode()).hexdigest()


def autoresponse(
    delivery_id: str,
    form: FormRow,
    payload: Payload,
    sender: NamedAddress,
    recipient: str,
    now_ms: int,
) -> Letter:
    """The answer."""
    subject = filled(form.autoresponse_subject or _SUBJECT, form.name, payload, _harmless)
    message = filled(form.autoresponse_message or _MESSAGE, form.name, payload, _harmless)
    text, html = rendered("autoresponse", {"subject": subject, "message": message})
    return Letter(
        id=delivery_id,
        account_id=form.account_id,
        sender=sender,
        recipient=recipient,
        subject=subject,
        text=text,
        html=html,
        sent_at=now_ms,
        is_answer=True,
        # The second is what Exchange and Outlook go by.
        headers={"Precedence": "bulk", "X-Auto-Response-Suppress": "All"},
    )


def _harmless(value: str) -> str:
    return without_links(one_line(value, _VALUE_MAX))
