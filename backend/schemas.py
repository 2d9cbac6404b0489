"""Types that the request and answer models of several resources share."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

CONTROL_CHARACTERS = r"\x00-\x1f\x7f-\x9f"
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Label = Annotated[
    str, StringConstraints(min_length=1, max_length=200, pattern=f"^[^{CONTROL_CHARACTERS}]+$")
]
"""A name that people give: one line."""

EMAIL_MAX = 254
# "A valid e-mail address" of HTML: what may stand in a header of a mail as it is.
EMAIL_PATTERN = (
    r"[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]+@[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
    r"(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*"
)
EmailAddress = Annotated[
    str,
    StringConstraints(max_length=EMAIL_MAX, pattern=f"^{EMAIL_PATTERN}$"),
    AfterValidator(str.lower),
]
"""An address of e-mail, in lower case."""

Time = Annotated[
    str, Field(json_schema_extra={"format": "date-time"}, examples=["2026-06-10T10:23:00.000Z"])
]


def _unix_ms(text: str) -> str:
    parse_moment(text)
    return text


def parse_moment(text: str) -> int:
    """Unix milliseconds of an ISO 8601 timestamp with its offset, rounded down."""
    try:
        if not _MOMENT.fullmatch(text):
            raise ValueError(text)
        return (datetime.fromisoformat(text) - _EPOCH) // timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        raise PydanticCustomError(
            "bad_timestamp", "Give an ISO 8601 timestamp with its offset: 2026-06-10T10:23:00Z"
        ) from None


Moment = Annotated[
    str,
    AfterValidator(_unix_ms),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""A point in time that a client names; ``parse_moment`` reads it."""


def without_defaults(schema: dict[str, Any]) -> None:
    """Makes the schema of a PATCH say nothing of defaults: they only mark what was not named, and a
    client must not take them for values."""
    for member in schema["properties"].values():
        member.pop("default", None)
