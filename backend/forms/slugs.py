"""Slugs: derived from names, and counted up when taken."""

import re
import unicodedata
from collections.abc import Container
from itertools import count

SLUG_PATTERN = r"^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$"
SLUG_MAX = 64
# Room for "-" and a number, so that every suffixed slug begins alike.
STEM_MAX = SLUG_MAX - 10


def slug_of(name: str) -> str:
    """The slug that a name suggests; "form" if the name has no letter or digit of ASCII's kind."""
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "-", ascii_name.lower()).strip("-")
    return slug[:STEM_MAX].rstrip("-") or "form"


def first_free(slug: str, taken: Container[str]) -> str:
    """``slug``, or else the first of slug-2, slug-3, … that is not taken."""
    if slug not in taken:
        return slug
    return next(candidate for number in count(2) if (candidate := f"{slug}-{number}") not in taken)
