"""Where a browser goes after a success."""

import re
from urllib.parse import quote, urlsplit

from contracts.forms import FormConfig

# Browsers read a backslash as a slash and drop control characters: such a URL says one thing to
# us and another to them.
_TREACHEROUS = re.compile(r"[\x00-\x20\x7f\\]")
_URL_SAFE = "!#$%&'()*+,/:;=?@[]~"


def next_url(form: FormConfig, asked: str | None) -> str | None:
    """The visitor's ``_next`` if the form allows its host, else the form's own URL, else None."""
    if asked is not None and is_allowed(asked, form.redirect_hosts):
        return quote(asked, safe=_URL_SAFE)
    return form.redirect_url


def is_allowed(url: str, hosts: tuple[str, ...]) -> bool:
    """Whether ``url`` is an absolute http(s) URL on one of ``hosts`` (lower-case names)."""
    if _TREACHEROUS.search(url):
        return False
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and "@" not in parts.netloc and host in hosts
