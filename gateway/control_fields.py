"""The fields of a post that steer it and are not stored."""

from contracts.fields import NEXT_FIELD, TURNSTILE_FIELD
from contracts.forms import FormConfig
from gateway.parsing.fields import Body

__all__ = ["TURNSTILE_FIELD", "asked_next", "is_trapped", "payload_of"]


def is_trapped(body: Body, form: FormConfig) -> bool:
    """Whether the honeypot, which people do not see, was filled in."""
    value = body.fields.get(form.honeypot_field) if form.honeypot_field is not None else None
    return any(value) if isinstance(value, list) else bool(value)


def payload_of(body: Body, form: FormConfig) -> dict[str, str | list[str]]:
    """The visitor's fields, control fields removed."""
    control = (form.honeypot_field, TURNSTILE_FIELD, NEXT_FIELD)
    return {name: value for name, value in body.fields.items() if name not in control}


def asked_next(body: Body) -> str | None:
    """Where the post asks a browser to go next."""
    value = body.fields.get(NEXT_FIELD)
    return value if isinstance(value, str) else None
