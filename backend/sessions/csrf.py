"""What tells a request of our own pages from one that another site made a browser send.

Both are wanted of every unsafe request that a cookie signs in: an ``Origin`` of our own, and a
token that only our pages can read. ``SameSite`` alone does not do: another port of the same host is
the same site.
"""

import base64
import hashlib
import hmac

from contracts.origins import normalise_origin

FIELD = "csrf"
"""The name of the form field that carries the token."""
_PURPOSE = b"formflow csrf token"


def csrf_token(session_token: str) -> str:
    """The token of the pages of a session: HMAC-SHA256 under the session's own token, from which it
    follows and of which it tells nothing. It ends with the session."""
    digest = hmac.digest(session_token.encode(), _PURPOSE, hashlib.sha256)
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def is_csrf_token(sent: str, session_token: str) -> bool:
    """Whether what a request carries is the token of its session."""
    return hmac.compare_digest(sent.encode(), csrf_token(session_token).encode())


def is_own_origin(sent: str | None, own: str) -> bool:
    """Whether a request's ``Origin`` is ours. Every browser sends it with a POST, so one without,
    or from nowhere (``null``), is not; a form to sign in needs it, too, having no session yet."""
    origin = normalise_origin(sent or "")
    return origin is not None and origin == normalise_origin(own)
