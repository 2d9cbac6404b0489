"""The shape of API keys: ``<prefix><key id>_<secret><checksum>``.

* key id: 12 lower-case hex digits, public, finds the row;
* secret: 43 base62 characters, 256 bits from a CSPRNG;
* checksum: 6 base62 characters, CRC-32 of everything before, so that a typo costs no look-up and a
  scanner recognises a leaked key.

How a secret is hashed is the backend's affair.
"""

import secrets
import zlib
from dataclasses import dataclass
from enum import Enum

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_HEX = frozenset("0123456789abcdef")
BASE62 = frozenset(_DIGITS)
"""The characters of secrets and checksums."""
_ID_LENGTH = 12
SECRET_LENGTH = 43
CHECKSUM_LENGTH = 6
DISPLAY_LENGTH = 12


class KeyKind(Enum):
    """The kinds of key; the value is what the API calls them."""

    SUBMISSION = "submission"
    MANAGEMENT = "management"
    LIVE = "live"
    TEST = "test"

    @property
    def prefix(self) -> str:
        return _PREFIXES[self]


_PREFIXES = {
    KeyKind.SUBMISSION: "ff_sub_",
    KeyKind.MANAGEMENT: "ff_mgmt_",
    KeyKind.LIVE: "ff_live_",
    KeyKind.TEST: "ff_test_",
}


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A well-formed key, whether or not it exists."""

    kind: KeyKind
    key_id: str
    secret: str

    @property
    def text(self) -> str:
        """The full key, as its owner holds it."""
        body = f"{self.kind.prefix}{self.key_id}_{self.secret}"
        return body + checksum(body)

    @property
    def display(self) -> str:
        """The first characters, enough to recognise a key and too few to use one."""
        return self.text[:DISPLAY_LENGTH]


def mint_key(kind: KeyKind) -> ApiKey:
    """A new random key."""
    secret = base62(secrets.randbits(256), SECRET_LENGTH)
    return ApiKey(kind, secrets.token_hex(_ID_LENGTH // 2), secret)


def parse_key(text: str) -> ApiKey | None:
    """The key in ``text``, or None if its shape or checksum is wrong."""
    kind = next((kind for kind, prefix in _PREFIXES.items() if text.startswith(prefix)), None)
    if kind is None:
        return None
    body, end = text[:-CHECKSUM_LENGTH], text[-CHECKSUM_LENGTH:]
    key_id, separator, secret = body[len(kind.prefix) :].partition("_")
    well_formed = (
        separator == "_"
        and len(key_id) == _ID_LENGTH
        and _HEX.issuperset(key_id)
        and len(secret) == SECRET_LENGTH
        and BASE62.issuperset(secret)
        and end == checksum(body)
    )
    return ApiKey(kind, key_id, secret) if well_formed else None


def checksum(body: str) -> str:
    """The six characters that end a credential which begins with ``body``."""
    return base62(zlib.crc32(body.encode()), CHECKSUM_LENGTH)


def base62(value: int, length: int) -> str:
    """The number in base62, ``length`` characters of it, the least significant last."""
    digits = []
    for _ in range(length):
        value, digit = divmod(value, 62)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
