"""The headers that tell a client how often it may still call."""

from functools import lru_cache

from contracts.runtime.ratelimit import Decision

Header = tuple[bytes, bytes]


def rate_headers(decision: Decision) -> tuple[Header, ...]:
    """The de facto ``X-RateLimit-*`` and the IETF's ``RateLimit``/``RateLimit-Policy``.

    Reset and ``t`` are seconds from now, not a point in time. Syntax:
    https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/11/ sections 3 and 4.
    """
    limit, name, policy = _policy(decision.limit, decision.window_seconds)
    remaining, reset = b"%d" % decision.remaining, b"%d" % decision.reset_seconds
    return (
        limit,
        (b"x-ratelimit-remaining", remaining),
        (b"x-ratelimit-reset", reset),
        policy,
        (b"ratelimit", b"%s;r=%s;t=%s" % (name, remaining, reset)),
    )


@lru_cache(maxsize=1_024)
def _policy(limit: int, seconds: int) -> tuple[Header, bytes, Header]:
    """What stays the same from answer to answer: the limit, the policy's name, the policy."""
    # A client tells policies apart by name, so that one name must not stand for two windows.
    name = b'"burst"' if seconds == 1 else b'"default"'
    return (
        (b"x-ratelimit-limit", b"%d" % limit),
        name,
        (b"ratelimit-policy", b"%s;q=%d;w=%d" % (name, limit, seconds)),
    )
