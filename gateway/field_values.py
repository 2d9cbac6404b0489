"""The values of one declared field: which they are, and whether each is of the field's type.

What a type takes is what a browser sends for the input of that type (WHATWG HTML, "Form control
infrastructure"). Every expression here is matched in time linear in the value's length, which is
bounded first.
"""

import re
from collections.abc import Callable
from math import inf
from urllib.parse import urlsplit

import orjson

from contracts.fields import DeclaredField, FieldType, is_date
from contracts.patterns import Pattern

Wrong = tuple[str, str]
"""The code and the message of what is wrong."""

Check = Callable[[str], Wrong | None]

_EMAIL_MAX = 254
_URL_MAX = 2_048
_TEL_MAX = 50
_NUMBER_MAX = 100
# "A valid e-mail address" of HTML.
_EMAIL = re.compile(
    r"[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]+@[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
    r"(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*"
)
# A visitor's page, which an owner may click on: no other scheme than these.
_URL = re.compile(r"https?://[^\s/?#]\S*", re.IGNORECASE)
# HTML leaves numbers of telephones open; these are what people write in them.
_TEL = re.compile(r"[\d\s+()./#*,;xX–-]+")
_NUMBER = re.compile(r"-?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_INTEGER = re.compile(r"-?[0-9]+")


def find_items(field: DeclaredField, value: str | list[str] | None) -> list[str]:
    """The values that a visitor gave; an input left blank gives none.

    A JSON body's list arrives as its text. A browser sends several addresses of one e-mail input
    with commas between them. Of a single checkbox behind a hidden input of the same name the last
    value counts.
    """
    if value is None:
        return []
    if field.multiple and isinstance(value, str):
        value = _split(field, value)
    if isinstance(value, str):
        return [value] if value else []
    items = [item for item in value if item]
    is_single_box = field.type is FieldType.CHECKBOX and not field.multiple
    return items[-1:] if is_single_box else items


def _split(field: DeclaredField, value: str) -> str | list[str]:
    if value.startswith("["):
        try:
            listed = orjson.loads(value)
        except orjson.JSONDecodeError:
            return value
        if any(isinstance(item, list | dict) for item in listed):
            return value
        return [item if isinstance(item, str) else orjson.dumps(item).decode() for item in listed]
    if field.type is FieldType.EMAIL:
        return [item.strip() for item in value.split(",")]
    return value


def value_check(field: DeclaredField) -> Check:
    """The check of a single, non-empty value. Raises BadPattern."""
    if field.options:
        return _option_check(field)
    if field.type in (FieldType.NUMBER, FieldType.INTEGER):
        return _number_check(field)
    if field.type is FieldType.DATE:
        return _date_check(field)
    return _text_check(field)


def _option_check(field: DeclaredField) -> Check:
    options = frozenset(field.options)

    def check(value: str) -> Wrong | None:
        return None if value in options else ("TYPE_TEXT", "Choose one of the options.")

    return check


def _number_check(field: DeclaredField) -> Check:
    is_whole = field.type is FieldType.INTEGER
    form = _INTEGER if is_whole else _NUMBER
    kind = "a whole number" if is_whole else "a number"
    low = field.min if isinstance(field.min, int | float) else None
    high = field.max if isinstance(field.max, int | float) else None

    def check(value: str) -> Wrong | None:
        if len(value) > _NUMBER_MAX or not form.fullmatch(value):
            return "TYPE_NUMERIC", f"Give {kind}."
        number = int(value) if is_whole else float(value)
        if number == inf or number == -inf:
            return "TYPE_NUMERIC", "Give a smaller number."
        if low is not None and number < low:
            return "TYPE_NUMERIC", f"Give {kind} of at least {low}."
        if high is not None and number > high:
            return "TYPE_NUMERIC", f"Give {kind} of at most {high}."
        return None

    return check


def _date_check(field: DeclaredField) -> Check:
    low, high = str(field.min or ""), str(field.max or "")

    def check(value: str) -> Wrong | None:
        if not is_date(value):
            return "TYPE_TEXT", "Give a date as 2026-06-30."
        # Of four digits, two and two: they sort as their text does.
        if value < low:
            return "TYPE_TEXT", f"Give a date of {low} or later."
        if high and value > high:
            return "TYPE_TEXT", f"Give a date of {high} or earlier."
        return None

    return check


def _text_check(field: DeclaredField) -> Check:
    is_of_type = _TYPES.get(field.type)
    pattern = Pattern(field.pattern) if field.pattern is not None else None
    least, most = field.min_length or 0, field.max_length

    def check(value: str) -> Wrong | None:
        if is_of_type is not None and (wrong := is_of_type(value)) is not None:
            return wrong
        # A browser sends a line break as two characters, which its own limit counts as one.
        text = value.replace("\r\n", "\n") if "\r" in value else value
        if len(text) < least:
            return "TYPE_TEXT", f"Give at least {least} characters."
        if most is not None and len(text) > most:
            return "TYPE_TEXT", f"Give at most {most} characters."
        if pattern is not None and not pattern.matches(text):
            return "TYPE_TEXT", "This value does not have the form that is asked for."
        return None

    return check


def _check_email(value: str) -> Wrong | None:
    is_good = len(value) <= _EMAIL_MAX and _EMAIL.fullmatch(value)
    return None if is_good else ("TYPE_EMAIL", "Give an e-mail address.")


def _check_url(value: str) -> Wrong | None:
    is_good = len(value) <= _URL_MAX and _URL.fullmatch(value) and _has_host(value)
    return None if is_good else ("TYPE_TEXT", "Give an address such as https://example.com.")


def _has_host(url: str) -> bool:
    try:
        return bool(urlsplit(url).hostname)
    except ValueError:
        return False


def _check_tel(value: str) -> Wrong | None:
    is_good = len(value) <= _TEL_MAX and _TEL.fullmatch(value) and any(map(str.isdecimal, value))
    return None if is_good else ("TYPE_TEXT", "Give a telephone number.")


_TYPES: dict[FieldType, Check] = {
    FieldType.EMAIL: _check_email,
    FieldType.URL: _check_url,
    FieldType.TEL: _check_tel,
}
