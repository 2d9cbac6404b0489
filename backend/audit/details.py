"""What may be said of an event: little, and no secret."""

import re
from collections.abc import Mapping
from typing import Any

import orjson

from contracts.keys import DISPLAY_LENGTH

TEXT_MAX = 256
ITEMS_MAX = 100
BYTES_MAX = 16 * 1024
_USER_AGENT_MAX = 256
_OMITTED = "…"
_SECRET_NAME = re.compile(r"secret|token|password|hash|credential|(?:^|_)key$")
# A mistyped or shortened key is still a secret.
_API_KEY = re.compile(r"ff_[a-z]+_[0-9A-Za-z_]{12,}")


def encode_details(details: Mapping[str, Any]) -> str | None:
    """The details as JSON text, cut to a bounded size and without secrets; None for none."""
    if not details:
        return None
    text = orjson.dumps(_bounded(details), default=str)
    if len(text) > BYTES_MAX:
        text = orjson.dumps({"omitted_bytes": len(text)})
    return text.decode()


def redacted(text: str) -> str:
    """The text with every API key in it cut to the part that is displayed: people paste keys into
    names, and clients send them as their user agent."""
    return _API_KEY.sub(lambda match: f"{match.group()[:DISPLAY_LENGTH]}…", text)


def shown_agent(user_agent: str | None) -> str | None:
    """A user agent as it is kept: bounded, and without secrets."""
    return user_agent and redacted(user_agent)[:_USER_AGENT_MAX]


def _bounded(value: Any) -> Any:
    if isinstance(value, str):
        text = redacted(value)
        return text if len(text) <= TEXT_MAX else text[:TEXT_MAX] + _OMITTED
    if isinstance(value, Mapping):
        return {name: _member(name, member) for name, member in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value) if isinstance(value, set | frozenset) else list(value)
        more = [f"… {len(items) - ITEMS_MAX} more"] if len(items) > ITEMS_MAX else []
        return [_bounded(item) for item in items[:ITEMS_MAX]] + more
    return value


def _member(name: str, value: Any) -> Any:
    """That something of such a name was set or changed may be said, but not to what."""
    is_plain = value is None or isinstance(value, bool)
    return _OMITTED if _SECRET_NAME.search(name) and not is_plain else _bounded(value)
