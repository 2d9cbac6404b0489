"""Bodies of requests, for people to read."""

import json

_SHOWN_MAX = 8_000


def is_short(body: str) -> bool:
    """Whether a page shows all of a body."""
    return len(body) <= _SHOWN_MAX


def pretty(body: str) -> str:
    """A body with a line for each of its members; the beginning of a long one."""
    try:
        text = json.dumps(json.loads(body), ensure_ascii=False, indent=2)
    except ValueError:
        text = body
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}…"
