"""Secrets of webhooks, and what is signed with them.

Two schemes go with every request. Ours is for a verifier of a few lines: HMAC-SHA256 of the raw
body, keyed with the secret as it is written. The other is Standard Webhooks 1.0
(https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md), which
signs id and time too, so that a receiver can refuse what is old; its key is what the secret's
base64 stands for.
"""

import base64
import hmac
import os
from collections.abc import Sequence

SECRET_PREFIX = "whsec_"  # noqa: S105 -- what secrets begin with
SECRET_BYTES = 32


def new_secret() -> str:
    """A secret: the prefix and the base64 of 32 random bytes."""
    return SECRET_PREFIX + base64.b64encode(os.urandom(SECRET_BYTES)).decode()


def signature_headers(
    body: bytes, secrets: Sequence[str], delivery_id: str, at_s: int
) -> dict[str, str]:
    """The headers that prove a request at the Unix second ``at_s`` to be ours.

    ``secrets`` are those in force, the current one first: it alone signs the simple scheme, while
    the standard one takes any number of signatures, which is what makes a rotation seamless.
    """
    signed = f"{delivery_id}.{at_s}.".encode() + body
    return {
        "x-formflow-signature": f"sha256={_digest(secrets[0].encode(), body).hex()}",
        "webhook-id": delivery_id,
        "webhook-timestamp": str(at_s),
        "webhook-signature": " ".join(
            f"v1,{base64.b64encode(_digest(_key(secret), signed)).decode()}" for secret in secrets
        ),
    }


def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix(SECRET_PREFIX))


def _digest(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")
