"""Values that fit the declared fields of a form, for the post of a probe."""

import math
from datetime import date

from contracts.fields import DeclaredField, FieldType
from contracts.patterns import VALUE_MAX, Pattern
from contracts.probes import PROBE_FIELD

Values = dict[str, str | list[str]]

# Nobody has these addresses (RFC 2606, RFC 6761) or these numbers (kept free for fiction).
_USUAL = {
    FieldType.TEXT: ("FormFlow probe", "12345"),
    FieldType.EMAIL: ("probe@formflow.invalid", "a@test"),
    FieldType.URL: ("https://example.com/formflow-probe", "http://test"),
    FieldType.TEL: ("+1 202 555 0100", "5550100", "1"),
}


def sample_values(
    declared: tuple[DeclaredField, ...], honeypot: str | None, email: str | None, today: date
) -> Values:
    """A value for each field that a visitor would fill in, by name.

    Left out are files, boxes to tick that need not be, the ``honeypot``, and fields that nothing
    was found for. ``email`` is an address to give where it fits.
    """
    values: Values = {}
    for field in declared:
        if field.name in (honeypot, PROBE_FIELD):
            continue
        value = _sample(field, email, today)
        if value is not None:
            values[field.name] = [value] if field.multiple else value
    return values


def sample_files(declared: tuple[DeclaredField, ...]) -> list[str]:
    """The names of the fields that a file must be sent for."""
    return [field.name for field in declared if field.type is FieldType.FILE and field.required]


def _sample(field: DeclaredField, email: str | None, today: date) -> str | None:
    if field.options:
        return field.options[0]
    if field.type in _USUAL:
        return _text(field, email)
    if field.type in (FieldType.NUMBER, FieldType.INTEGER):
        return _number(field)
    if field.type is FieldType.DATE:
        return _date(field, today)
    return "on" if field.type is FieldType.CHECKBOX and field.required else None


def _text(field: DeclaredField, email: str | None) -> str | None:
    """The given address, or a usual text that fits, made longer or cut where it must be; else what
    the pattern alone asks for."""
    # Made longer, the address would be somebody else's.
    if field.type is FieldType.EMAIL and email is not None and _fits(field, email):
        return email
    candidates = [_longer(field, text) for text in _USUAL[field.type]]
    if field.type is FieldType.TEXT:
        candidates.append(candidates[0][: field.max_length])
    for text in candidates:
        if _fits(field, text):
            return text
    if field.pattern is None:
        return None
    # Empty would be a field left blank.
    least = max(field.min_length or 0, 1)
    most = VALUE_MAX if field.max_length is None else field.max_length
    return Pattern(field.pattern).sample(least, most)


def _longer(field: DeclaredField, text: str) -> str:
    missing = (field.min_length or 0) - len(text)
    if field.type is FieldType.EMAIL:
        return "a" * missing + text
    return text + ("0" if field.type is FieldType.TEL else "a") * missing


def _fits(field: DeclaredField, text: str) -> bool:
    return (
        len(text) >= (field.min_length or 0)
        and (field.max_length is None or len(text) <= field.max_length)
        and (field.pattern is None or Pattern(field.pattern).matches(text))
    )


def _number(field: DeclaredField) -> str | None:
    low = field.min if isinstance(field.min, int | float) else -math.inf
    high = field.max if isinstance(field.max, int | float) else math.inf
    if low <= 1 <= high:
        return "1"
    bound = low if low > 1 else high
    if field.type is FieldType.NUMBER:
        return repr(bound)
    whole = math.ceil(bound) if bound == low else math.floor(bound)
    return str(whole) if low <= whole <= high else None


def _date(field: DeclaredField, today: date) -> str:
    # Of four digits, two and two: they sort as their text does.
    day = max(today.isoformat(), str(field.min or ""))
    return min(day, str(field.max)) if field.max else day
