"""Typed, time-ordered, random ids: ``sub_`` and 26 characters of Crockford base32.

The layout is ULID's: 48 bits of Unix milliseconds, then 80 random bits, so that ids of one kind
sort by the time they were minted (https://github.com/ulid/spec).
"""

import hashlib
import os
from functools import lru_cache

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_TIME_CHARS = 10
_RANDOM_CHARS = 16
_LENGTH = _TIME_CHARS + _RANDOM_CHARS
_TIME_MAX_MS = 2**48 - 1
# Five bits of each random byte choose a character: 32 divides 256, so none is favoured.
_CHARACTER_OF_BYTE = (_ALPHABET * 8).encode()


def new_id(prefix: str, now_ms: int) -> str:
    """A new id, e.g. ``new_id("sub", now_ms)`` → ``sub_01k…``; ``now_ms`` is Unix milliseconds."""
    random = os.urandom(_RANDOM_CHARS).translate(_CHARACTER_OF_BYTE)
    return f"{prefix}_{_time_chars(now_ms)}{random.decode()}"


def derived_id(prefix: str, now_ms: int, seed: bytes) -> str:
    """The id that always comes of the same time and seed; different seeds yield different ones."""
    digest = hashlib.sha256(seed).digest()[:_RANDOM_CHARS]
    return f"{prefix}_{_time_chars(now_ms)}{digest.translate(_CHARACTER_OF_BYTE).decode()}"


def first_id(prefix: str, now_ms: int) -> str:
    """What sorts before every id that is minted at that time or later, and after every other.
    Times that no id can have count as the nearest one that it can."""
    return f"{prefix}_{_time_chars(min(max(now_ms, 0), _TIME_MAX_MS))}"


@lru_cache(maxsize=16)
def _time_chars(now_ms: int) -> str:
    shifts = range(5 * (_TIME_CHARS - 1), -1, -5)
    return "".join(_ALPHABET[now_ms >> shift & 31] for shift in shifts)


def is_id(text: str, prefix: str) -> bool:
    """Whether ``text`` has the shape of an id of that kind."""
    start = len(prefix) + 1
    return (
        len(text) == start + _LENGTH
        and text.startswith(f"{prefix}_")
        and all(character in _ALPHABET for character in text[start:])
    )
