"""What a form's members may hold."""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from backend.forms.slugs import SLUG_MAX, SLUG_PATTERN
from backend.schemas import CONTROL_CHARACTERS
from contracts.origins import normalise_pattern

HONEYPOT_MAX_BYTES = 256
HOST_MAX = 253
HOSTS_MAX = 100
URL_MAX = 2048

_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = rf"^{_LABEL}(?:\.{_LABEL})*$"


def _honeypot_field(name: str) -> str:
    if len(name.encode()) > HONEYPOT_MAX_BYTES:
        raise PydanticCustomError("too_long", "A field name has 256 bytes at most.")
    return name


def _redirect_url(url: str) -> str:
    """Only what may stand in a Location header as it is, and leads where it seems to."""
    try:
        parts = urlsplit(url)
        is_good = bool(parts.hostname) and "@" not in parts.netloc and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good:
        raise PydanticCustomError(
            "bad_url", "Give an absolute http or https URL with a host and without a password."
        )
    return url


def _redirect_hosts(hosts: list[str]) -> list[str]:
    return list(dict.fromkeys(host.lower() for host in hosts))


Slug = Annotated[str, StringConstraints(max_length=SLUG_MAX, pattern=SLUG_PATTERN)]

Status = Annotated[
    Literal["live", "paused", "draft"], Field(description="Only a live form takes submissions.")
]

HoneypotField = Annotated[
    str,
    StringConstraints(min_length=1, max_length=256, pattern=f"^[^{CONTROL_CHARACTERS}]+$"),
    AfterValidator(_honeypot_field),
    Field(description="The hidden field that only bots fill in."),
]

RedirectUrl = Annotated[
    str,
    # Visible ASCII but for the backslash, which browsers take for a slash.
    StringConstraints(max_length=URL_MAX, pattern=r"^[Hh][Tt][Tt][Pp][Ss]?://[!-\[\]-~]+$"),
    AfterValidator(_redirect_url),
    Field(
        description="Where a browser goes after a submission. Percent-encode what is not ASCII.",
        examples=["https://example.com/thanks"],
    ),
]

RedirectHosts = Annotated[
    list[Annotated[str, StringConstraints(max_length=HOST_MAX, pattern=_HOST)]],
    Field(
        max_length=HOSTS_MAX,
        description="Hosts that a post's `_next` may lead to.",
        examples=[["www.example.com"]],
    ),
    AfterValidator(_redirect_hosts),
]

Mode = Annotated[
    Literal["live", "test"],
    Field(
        description="Submissions to a test form use no quota and deliver nothing. By default "
        "`live`, for a test credential `test`."
    ),
]


def _allowed_origins(origins: list[str]) -> list[str]:
    return list(dict.fromkeys(_origin(origin) for origin in origins))


def _origin(text: str) -> str:
    origin = normalise_pattern(text)
    if origin is None:
        raise PydanticCustomError(
            "bad_origin", "Give origins such as https://example.com or https://*.example.com."
        )
    return origin


AllowedOrigins = Annotated[
    list[Annotated[str, StringConstraints(max_length=300)]],
    Field(
        max_length=HOSTS_MAX,
        description="If not empty, only pages of these origins may post.",
        examples=[["https://www.example.com"]],
    ),
    AfterValidator(_allowed_origins),
]

RateLimit = Annotated[
    int,
    Field(ge=1, le=100_000, description="Anonymous posts of one visitor in any 60 seconds."),
]

Strict = Annotated[
    bool,
    Field(description="Whether an idempotency key that comes with another body is refused."),
]

TurnstileKey = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,256}$")]

OnOutage = Annotated[
    Literal["refuse", "hold", "accept"],
    Field(description="What becomes of a post while Turnstile cannot be reached."),
]

Environment = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200),
    Field(
        description="The name of one of the account's environments; by default `production`, or "
        "that of the credential.",
        examples=["production"],
    ),
]

RetentionDays = Annotated[
    int,
    Field(
        ge=1,
        le=36_500,
        description="Submissions older than so many days are removed; the plan's cap if null.",
        examples=[365],
    ),
]

SilenceAlarm = Annotated[
    bool,
    Field(
        description="Whether the account's owners are told once when the form has stopped "
        "receiving: nothing for more than three days, and twice its longest pause before."
    ),
]
