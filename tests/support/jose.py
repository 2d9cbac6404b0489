"""Keys and signed tokens, genuine ones and such as nobody should believe."""

import base64
import hmac
import warnings
from collections.abc import Mapping
from typing import Any

import orjson
from joserfc import jwt
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey
from joserfc.jws import JWSRegistry


def other_key(kind: str, kid: str = "key-1") -> RSAKey | ECKey | OKPKey:
    """A key that a provider may sign with."""
    if kind == "RSA":
        return RSAKey.generate_key(2048, {"kid": kid})
    if kind == "OKP":
        return OKPKey.generate_key("Ed25519", {"kid": kid})
    return ECKey.generate_key("P-256", {"kid": kid})


def signed(header: Mapping[str, Any], claims: Mapping[str, Any], key: Key) -> str:
    """A token in the compact serialization, by whatever algorithm the header names."""
    with warnings.catch_warnings():
        # The library thinks little of some of them.
        warnings.simplefilter("ignore")
        registry = JWSRegistry(strict_check_header=False, algorithms=[header["alg"]])
        return jwt.encode(dict(header), dict(claims), key, registry=registry)


def signed_with_text(kid: str, claims: Mapping[str, Any], secret: bytes) -> str:
    """A token signed by HS256 with any text, as whoever confuses algorithms signs with a public
    key, which every library refuses to do."""
    parts = [{"alg": "HS256", "kid": kid, "typ": "JWT"}, dict(claims)]
    text = ".".join(encoded(orjson.dumps(part)) for part in parts)
    return f"{text}.{encoded(hmac.digest(secret, text.encode(), 'sha256'))}"


def encoded(content: bytes) -> str:
    """Base64url without padding (RFC 7515, 2)."""
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
