"""Opaque tokens: ``<prefix><43 base62: 256 bits from a CSPRNG><6 base62: CRC-32 of all before>``.

The checksum spares a look-up for a typo, and with the prefix lets a scanner recognise a leaked
one. A token is stored as its digest, and found by it: how long that takes says nothing about
tokens that exist.
"""

import hashlib
import secrets

from contracts.keys import BASE62, CHECKSUM_LENGTH, SECRET_LENGTH, base62, checksum

_SECRET_BITS = 256


def mint_token(prefix: str) -> str:
    """A new random token."""
    body = prefix + base62(secrets.randbits(_SECRET_BITS), SECRET_LENGTH)
    return body + checksum(body)


def is_token(text: str, prefix: str) -> bool:
    """Whether the text has the shape and the checksum of a token of that prefix."""
    body, end = text[:-CHECKSUM_LENGTH], text[-CHECKSUM_LENGTH:]
    return (
        len(text) == len(prefix) + SECRET_LENGTH + CHECKSUM_LENGTH
        and text.startswith(prefix)
        and BASE62.issuperset(body[len(prefix) :])
        and end == checksum(body)
    )


def digest_of(token: str) -> str:
    """What is stored of a token: of 256 random bits a plain SHA-256 suffices."""
    return hashlib.sha256(token.encode()).hexdigest()
