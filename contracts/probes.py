"""Probes: posts that a form's owner sends through the whole chain to see whether it holds.

A probe is a post like any other, with two signs. The header ``FormFlow-Probe`` carries a token of
the backend's, ``<Unix second of expiry>.<signature>``, which a gateway checks without asking
anybody; the field ``formflow_probe`` tells whoever receives the submission.
"""

import hmac

PROBE_HEADER = b"formflow-probe"
PROBE_FIELD = "formflow_probe"
PROBE_SECONDS = 300
"""How long a token is good for."""

META_MEMBER = "probe"
_IN_META = f'"{META_MEMBER}":true'
_EXPIRY_MAX_DIGITS = 12


class ProbeTokens:
    """Signs tokens and checks them: HMAC-SHA256 over the form's id and the second of expiry, with a
    key derived from the internal token, which gateways and backends share."""

    def __init__(self, internal_token: str) -> None:
        self._key = hmac.digest(internal_token.encode(), b"formflow probes", "sha256")

    def sign(self, form_id: str, expires_at: int) -> str:
        """The token for a form; ``expires_at`` is a Unix second."""
        return f"{expires_at}.{self._signature(form_id, str(expires_at))}"

    def is_valid(self, token: bytes, form_id: str, now_ms: int) -> bool:
        """Whether the token is one of ours for this form, at a Unix time in milliseconds."""
        expires, _, signature = token.decode("latin-1").partition(".")
        if not (expires.isascii() and expires.isdigit() and len(expires) <= _EXPIRY_MAX_DIGITS):
            return False
        expected = self._signature(form_id, expires)
        is_ours = hmac.compare_digest(signature.encode("latin-1"), expected.encode())
        return is_ours and now_ms < int(expires) * 1000

    def _signature(self, form_id: str, expires: str) -> str:
        return hmac.digest(self._key, f"{form_id}/{expires}".encode(), "sha256").hex()


def is_probe(meta: str) -> bool:
    """Whether a submission's ``meta``, the JSON text that a gateway made, is that of a probe.

    Looking for the text is enough: inside a JSON string a quotation mark has a backslash before it,
    so that no header of a visitor's can look like this member.
    """
    return _IN_META in meta
