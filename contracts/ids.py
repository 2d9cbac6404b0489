"""Typed, time-ordered, random ids: ``sub_`` and 26 characters of Crockford base32.

The layout is ULID's: 48 bits of Unix milliseconds, then 80 random bits, so that ids of one kind
sort by the time they were minted (https://github.com/ulid/spec).
"""

import os

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [high + low for high in _ALPHABET for low in _ALPHABET]
_LENGTH = 26


def new_id(prefix: str, now_ms: int) -> str:
    """A new id, e.g. ``new_id("sub", now_ms)`` → ``sub_01k…``; ``now_ms`` is Unix milliseconds."""
    value = (now_ms & 0xFFFFFFFFFFFF) << 80 | int.from_bytes(os.urandom(10), "big")
    pairs = _PAIRS
    return (
        f"{prefix}_{pairs[value >> 120]}{pairs[value >> 110 & 1023]}{pairs[value >> 100 & 1023]}"
        f"{pairs[value >> 90 & 1023]}{pairs[value >> 80 & 1023]}{pairs[value >> 70 & 1023]}"
        f"{pairs[value >> 60 & 1023]}{pairs[value >> 50 & 1023]}{pairs[value >> 40 & 1023]}"
        f"{pairs[value >> 30 & 1023]}{pairs[value >> 20 & 1023]}{pairs[value >> 10 & 1023]}"
        f"{pairs[value & 1023]}"
    )


def is_id(text: str, prefix: str) -> bool:
    """Whether ``text`` has the shape of an id of that kind."""
    start = len(prefix) + 1
    return (
        len(text) == start + _LENGTH
        and text.startswith(f"{prefix}_")
        and all(character in _ALPHABET for character in text[start:])
    )
