"""The sections of a form's settings: which members of the API each one sets, and how these are read
from what a browser sends."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from backend.console.visits import Visit

_WHOLE = re.compile(r"-?[0-9]{1,15}")
Reader = Callable[[Visit, str], Any]


def _text(visit: Visit, name: str) -> str:
    return visit.text(name)


def _text_or_null(visit: Visit, name: str) -> str | None:
    return visit.text(name) or None


def _lines(visit: Visit, name: str) -> list[str]:
    return [line.strip() for line in visit.text(name).splitlines() if line.strip()]


def _is_ticked(visit: Visit, name: str) -> bool:
    return name in visit.form


def _whole(visit: Visit, name: str) -> int | str:
    """A whole number; what is none goes to the API as it is, which says so."""
    return whole_or_text(visit.text(name))


def _whole_or_null(visit: Visit, name: str) -> int | str | None:
    return _whole(visit, name) if visit.text(name) else None


def whole_or_text(text: str) -> int | str:
    """The number that a text is, or the text."""
    return int(text) if _WHOLE.fullmatch(text) else text


@dataclass(frozen=True, slots=True)
class Section:
    """One section: ``name`` is the last part of its address."""

    name: str
    title: str
    lead: str
    members: Mapping[str, Reader] = field(default_factory=dict)

    def read(self, visit: Visit) -> dict[str, Any]:
        """The members as the browser sends them."""
        return {name: read(visit, name) for name, read in self.members.items()}


GENERAL = Section(
    "general",
    "General",
    "What the form is called, and whether it takes posts.",
    {
        "name": _text,
        "status": _text,
        "mode": _text,
        "environment": _text,
        "idempotency_strict": _is_ticked,
    },
)
MAIL = Section(
    "mail",
    "Notifications",
    "Who is told of a submission, and what visitors get back by mail.",
    {
        "notify_emails": _text,
        "from_address": _text_or_null,
        "subject_template": _text_or_null,
        "autoresponse_enabled": _is_ticked,
        "autoresponse_subject": _text_or_null,
        "autoresponse_message": _text_or_null,
        "silence_alarm_enabled": _is_ticked,
    },
)
AFTERWARDS = Section(
    "afterwards",
    "After sending",
    "Where a visitor's browser goes next.",
    {"redirect_url": _text_or_null, "redirect_hosts": _lines},
)
PROTECTION = Section(
    "protection",
    "Spam and abuse",
    "What keeps bots out. Spam is stored apart, costs nothing and is told to nobody.",
    {
        "honeypot_enabled": _is_ticked,
        "honeypot_field": _text,
        "turnstile_enabled": _is_ticked,
        "turnstile_site_key": _text_or_null,
        "turnstile_skip_with_key": _is_ticked,
        "turnstile_on_outage": _text,
        "rate_limit_per_minute": _whole,
        "allowed_origins": _lines,
    },
)
FIELDS = Section(
    "fields",
    "Fields",
    "What a post is expected to hold. Other fields are stored as they come.",
)
KEEPING = Section(
    "keeping",
    "Keeping",
    "How long submissions stay.",
    {"retention_days": _whole_or_null},
)
SECTIONS = (GENERAL, MAIL, AFTERWARDS, PROTECTION, FIELDS, KEEPING)
