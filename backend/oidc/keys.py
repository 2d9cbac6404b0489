"""The keys that the identity provider signs with, and what is signed with them."""

from collections.abc import Mapping
from typing import Any

from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError, UnsupportedAlgorithmError
from joserfc.jwk import JWKRegistry, Key, KeySet
from joserfc.jws import JWSRegistry

from backend.oidc.errors import BadToken, ProviderUnreachable

ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA", "Ed25519")
"""Signatures by a public key only: with a shared one (``HS256``) whoever has the public key could
sign, with ``none`` anybody."""
_KEY_TYPES = ("RSA", "EC", "OKP")
_KEYS_MAX = 50
# 2048 bits in base64url (RFC 7518, 3.3).
_RSA_MODULUS_MIN = 342
_MALFORMED = (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError)


class _Signatures(JWSRegistry):
    """Knows the allowed algorithms. The library's own also warns of ``EdDSA``, which RFC 9864
    renames and providers go on using."""

    def get_alg(self, name: str) -> Any:
        if name not in ALGORITHMS:
            raise UnsupportedAlgorithmError(name)
        return self.algorithms[name]


class UnknownKey(Exception):
    """A token names a key that is not in the set: the set may be too old."""


def key_set_of(document: Mapping[str, Any]) -> KeySet:
    """The public keys of a JWK set (RFC 7517, 5). Those that are of another kind, for something
    else, or damaged, are left out.

    Raises:
        ProviderUnreachable: none is left.
    """
    entries = document.get("keys")
    keys: list[Key] = []
    for entry in entries[:_KEYS_MAX] if isinstance(entries, list) else ():
        if isinstance(entry, dict) and entry.get("kty") in _KEY_TYPES:
            key = _key_of(entry)
            if key is not None:
                keys.append(key)
    if not keys:
        raise ProviderUnreachable("it publishes no usable key")
    return KeySet(keys)


def claims_of(token: str, keys: KeySet, types: frozenset[str]) -> dict[str, Any]:
    """What a signed token says; its header's ``typ``, if it has one, is one of ``types``.

    Raises:
        UnknownKey: it is signed with a key that is not there.
        BadToken: it is no token, or the signature is not good.
    """
    try:
        decoded = jwt.decode(token, keys, ALGORITHMS, _Signatures(strict_check_header=False))
    except InvalidKeyIdError:
        raise UnknownKey from None
    except _MALFORMED as error:
        raise BadToken(f"the signature is not good: {type(error).__name__}") from None
    kind = decoded.header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in types:
        raise BadToken("it is a token of another type")
    return decoded.claims


def _key_of(entry: dict[str, Any]) -> Key | None:
    is_for_signatures = entry.get("use", "sig") == "sig"
    is_too_short = entry["kty"] == "RSA" and len(str(entry.get("n"))) < _RSA_MODULUS_MIN
    if not is_for_signatures or is_too_short or not isinstance(entry.get("kid"), str | None):
        return None
    try:
        return JWKRegistry.import_key(entry)
    except _MALFORMED:
        return None
