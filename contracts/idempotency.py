"""The ``Idempotency-Key`` header, alike at the gateway and in the management API."""

import re

from contracts.problems import Problem, Rejected

HEADER_PATTERN = "^[!-~]{0,255}$"
"""What the header may be: visible ASCII characters; an empty one counts as none."""
BOUND_MS = 24 * 3600 * 1000
"""For how long a key stays bound to what was first done with it, in milliseconds."""
REPLAYED_HEADER = "Idempotency-Replayed"
MISMATCH_HEADER = "Idempotency-Mismatch"
_KEY = re.compile(rb"[!-~]{1,255}")


def read_key(header: bytes | None) -> str | None:
    """The key in an ``Idempotency-Key`` header; None if there is none or it is empty.

    Raises:
        Rejected: BAD_IDEMPOTENCY_KEY.
    """
    if header is None or not header.strip():
        return None
    if _KEY.fullmatch(header) is None:
        raise Rejected(
            Problem.BAD_IDEMPOTENCY_KEY,
            "Idempotency-Key must be 1 to 255 visible ASCII characters, sent once.",
        )
    return header.decode("ascii")
