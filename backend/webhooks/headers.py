"""The headers that an owner gives a webhook, such as the ``Authorization`` its receiver wants."""

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

HEADERS_MAX = 8
VALUE_MAX_BYTES = 1024
MASK = "…"
"""What answers and the log show in place of a value. No value can be like it."""

_NAME_MAX = 100
# A token (RFC 9110, section 5.6.2).
_NAME = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"
# Visible ASCII, with spaces inside.
_VALUE = "^[!-~]([ -~]*[!-~])?$"
# What frames a request and its connection, or is ours to say.
_RESERVED = re.compile(
    "host|content-.*|connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|expect"
    "|accept-encoding|user-agent|x-formflow-.*|webhook-.*|:.*",
    re.IGNORECASE,
)


def masked(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers without their values, any of which may be a credential."""
    return dict.fromkeys(headers, MASK)


def _headers(headers: dict[str, str]) -> dict[str, str]:
    seen: set[str] = set()
    for name in headers:
        if _RESERVED.fullmatch(name):
            raise PydanticCustomError(
                "reserved_header", "The header {name} is set by FormFlow.", {"name": name}
            )
        if name.lower() in seen:
            raise PydanticCustomError(
                "duplicate_header", "The header {name} is there twice.", {"name": name}
            )
        seen.add(name.lower())
    return headers


def _value(value: str) -> str:
    if value == MASK:
        raise PydanticCustomError(
            "masked_value", "Answers mask the values of headers: give the value itself."
        )
    if not re.fullmatch(_VALUE, value):
        raise PydanticCustomError(
            "bad_header", "The value of a header is visible ASCII, with spaces inside at most."
        )
    return value


Headers = Annotated[
    dict[
        Annotated[str, StringConstraints(max_length=_NAME_MAX, pattern=_NAME)],
        Annotated[
            str,
            StringConstraints(min_length=1, max_length=VALUE_MAX_BYTES),
            AfterValidator(_value),
        ],
    ],
    Field(
        max_length=HEADERS_MAX,
        description="Headers of your own that go with every request. The values are kept sealed, "
        "and answers mask them; a PATCH replaces all of them.",
        examples=[{"authorization": "Bearer of-the-receiver"}],
    ),
    AfterValidator(_headers),
]
