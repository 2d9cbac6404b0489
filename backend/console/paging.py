"""The way through a list that comes in pages: the address carries the cursor of the API."""

from collections.abc import Mapping
from urllib.parse import urlencode

from backend.console.visits import Visit


def page_query(visit: Visit, **filters: str) -> dict[str, str]:
    """What to ask the API for: the page that the address names, with those of the filters that are
    not empty."""
    return _named(filters | {"cursor": visit.query.get("cursor", "")})


def page_links(visit: Visit, next_cursor: str | None, **filters: str) -> dict[str, str | None]:
    """The addresses of the next page and of the first one, as ``next_url`` and ``first_url``; None
    where there is none to go to."""
    path = visit.request.url.path
    return {
        "next_url": _address(path, filters | {"cursor": next_cursor}) if next_cursor else None,
        "first_url": _address(path, filters) if "cursor" in visit.query else None,
    }


def _address(path: str, members: Mapping[str, str]) -> str:
    query = urlencode(_named(members))
    return f"{path}?{query}" if query else path


def _named(members: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in members.items() if value}
