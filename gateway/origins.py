"""Which sites may post to a form."""

import re
from dataclasses import dataclass
from functools import lru_cache

from contracts.origins import normalise_origin, normalise_pattern
from contracts.problems import Problem, Rejected

_ORIGIN_OF_URL = re.compile(r"[^/]*//[^/?#]*")
_STAR = "*"


def check_origin(
    origin: bytes | None, referer: bytes | None, allowed: tuple[str, ...]
) -> str | None:
    """The request's ``Origin``, normalised, to echo in ``Access-Control-Allow-Origin``; None if
    only the ``Referer`` was there, or if nothing is restricted because ``allowed`` is empty.

    An ``Origin`` that was sent counts alone: ``null`` matches nothing, and the ``Referer`` beside
    it is not asked. Raises Rejected.
    """
    if not allowed:
        return None
    sent = _origin_of(referer) if origin is None else normalise_origin(origin.decode("latin-1"))
    if sent is None or not _rules(allowed).match(sent):
        raise _refusal(sent)
    return None if origin is None else sent


@dataclass(frozen=True, slots=True)
class _Rules:
    """Allowed origins, and the ``(start, end)`` between which a wildcard takes subdomains."""

    exact: frozenset[str]
    between: tuple[tuple[str, str], ...]

    def match(self, origin: str) -> bool:
        return origin in self.exact or any(
            origin.startswith(start) and origin.endswith(end) for start, end in self.between
        )


@lru_cache(maxsize=1024)
def _rules(allowed: tuple[str, ...]) -> _Rules:
    normalised = [origin for origin in map(normalise_pattern, allowed) if origin is not None]
    patterns = (origin.partition(_STAR) for origin in normalised if _STAR in origin)
    return _Rules(
        frozenset(origin for origin in normalised if _STAR not in origin),
        tuple((start, end) for start, _, end in patterns),
    )


def _origin_of(referer: bytes | None) -> str | None:
    match = _ORIGIN_OF_URL.match(referer.decode("latin-1")) if referer else None
    return normalise_origin(match.group()) if match else None


def _refusal(sent: str | None) -> Rejected:
    site = sent or "A page that does not say where it is"
    return Rejected(
        Problem.ORIGIN_NOT_ALLOWED,
        f"{site} may not post to this form. Its owner can add the site to the allowed origins.",
    )
