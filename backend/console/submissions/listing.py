"""Which submissions a list shows. The address of the list says it, and so do those of the pages
that it leads to: they know the way back."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import date, timedelta
from urllib.parse import quote, urlencode

from backend.console.visits import Visit

RECEIVED = "received"
"""What is listed unless something else is asked for."""
TABS = ((RECEIVED, "Received"), ("held", "Held"), ("spam", "Spam"), ("all", "All"))


@dataclass(frozen=True, slots=True)
class Listing:
    """A list of submissions: those of one form if there is a ``form_id``. ``since`` and ``until``
    are days in UTC, both inclusive, or moments as the API has them; what is empty does not count.
    """

    form_id: str = ""
    status: str = ""
    read: str = ""
    since: str = ""
    until: str = ""
    q: str = ""

    @classmethod
    def of(cls, visit: Visit) -> "Listing":
        """The list that an address is about."""
        named = {field.name: visit.query.get(field.name, "").strip() for field in fields(cls)}
        if "form_id" in visit.path:
            named["form_id"] = visit.path["form_id"]
        if named["status"] == RECEIVED:
            named["status"] = ""
        return cls(**named)

    @property
    def path(self) -> str:
        """Where it is shown."""
        if not self.form_id:
            return "/submissions"
        return f"/forms/{quote(self.form_id, safe='')}/submissions"

    @property
    def query(self) -> dict[str, str]:
        """What the address of the list says beside its path."""
        return {name: value for name, value in self.context.items() if name != "form_id"}

    @property
    def context(self) -> dict[str, str]:
        """What the address of another page says so that it knows the list."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in named.items() if value}

    @property
    def url(self) -> str:
        """Its address."""
        return address(self.path, self.query)

    @property
    def asked(self) -> dict[str, str]:
        """What to ask the API for, beside the form."""
        moments = {
            "since": start_of(self.since),
            "until": end_of(self.until),
            "status": self.status or RECEIVED,
        }
        named = self.query | moments
        return {name: value for name, value in named.items() if value}

    @property
    def is_narrowed(self) -> bool:
        """Whether it is of a part of what is filed in this way."""
        return bool(self.read or self.since or self.until or self.q)

    def filed(self, status: str) -> str:
        """The address of the same of what is filed in another way."""
        return replace(self, status="" if status == RECEIVED else status).url

    def link(self, path: str) -> str:
        """The address of another page, which knows the list."""
        return address(path, self.context)


def address(path: str, query: Mapping[str, str]) -> str:
    """An address with a query, if there is something to say in it."""
    return f"{path}?{urlencode(query)}" if query else path


def start_of(day: str) -> str:
    """The moment at which a day begins in UTC. What is no day stays as it is: the API takes it, or
    says what is wrong with it."""
    try:
        return f"{date.fromisoformat(day).isoformat()}T00:00:00Z"
    except ValueError:
        return day


def end_of(day: str) -> str:
    """The moment at which a day is over; otherwise as ``start_of``."""
    try:
        return start_of((date.fromisoformat(day) + timedelta(days=1)).isoformat())
    except (ValueError, OverflowError):
        return day
