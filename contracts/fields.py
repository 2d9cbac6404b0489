"""The declared fields of a form: what a visitor's post is expected to hold."""

import re
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Any

TURNSTILE_FIELD = "cf-turnstile-response"
NEXT_FIELD = "_next"
CONTROL_FIELDS = frozenset({TURNSTILE_FIELD, NEXT_FIELD})
"""Fields of every form that steer a post and are not stored; a form's honeypot field is another."""

FIELDS_MAX = 100
OPTIONS_MAX = 200
ITEMS_MAX = 200
"""The values that a field with ``multiple`` may have; a post's own limit of fields is the same."""

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class FieldType(Enum):
    """What kind of input a field is, by the names of HTML; a text area is ``text``."""

    TEXT = "text"
    EMAIL = "email"
    URL = "url"
    TEL = "tel"
    NUMBER = "number"
    INTEGER = "integer"
    DATE = "date"
    CHECKBOX = "checkbox"
    SELECT = "select"
    RADIO = "radio"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class DeclaredField:
    """One field. None is no limit.

    ``required``: it must be there and not be empty. ``min_length`` and ``max_length`` count
    characters, a line break as one. ``min`` and ``max`` are numbers, or dates as ``2026-06-30``,
    both included. ``pattern`` is one of ``contracts.patterns``. ``options`` are the values to
    choose from. ``multiple``: it may have several values, ``max_items`` at most.
    """

    name: str
    type: FieldType = FieldType.TEXT
    label: str | None = None
    required: bool = False
    min_length: int | None = None
    max_length: int | None = None
    min: int | float | str | None = None
    max: int | float | str | None = None
    pattern: str | None = None
    options: tuple[str, ...] = ()
    multiple: bool = False
    max_items: int | None = None


def field_of(document: dict[str, Any]) -> DeclaredField:
    """The field of a document of its members; those left out have their defaults, and unknown ones
    are ignored. Raises ValueError, KeyError or TypeError."""
    return DeclaredField(
        name=document["name"],
        type=FieldType(document.get("type", "text")),
        label=document.get("label"),
        required=document.get("required", False),
        min_length=document.get("min_length"),
        max_length=document.get("max_length"),
        min=document.get("min"),
        max=document.get("max"),
        pattern=document.get("pattern"),
        options=tuple(document.get("options", ())),
        multiple=document.get("multiple", False),
        max_items=document.get("max_items"),
    )


def is_date(text: str) -> bool:
    """Whether the text is a day of the calendar, as ``2026-06-30``."""
    if not _DATE.fullmatch(text):
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
