"""What comes in while somebody looks at a list: their browser asks for it every few seconds.

A submission may be stored a while after it got its id: its files took time, or its gateway kept it
while the backend was away. So each question goes back a little behind the newest one, and names
those that the list has already.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from backend.console.submissions.listing import Listing, address
from backend.schemas import parse_moment
from backend.submissions.schemas import Submission
from contracts.runtime.clock import iso

PATH = "/submissions/newer"
ADDED_MAX = 100
"""So many are added to a page; it would grow without end."""
_BACK_MS = 2 * 60_000
_SEEN_MAX = 100
_SINCE, _SEEN, _ADDED = "from", "seen", "added"


@dataclass(frozen=True, slots=True)
class Watch:
    """What a list has: ``since`` is the moment (ISO 8601) from which on to ask, ``seen`` are ids,
    and ``added`` counts those that came by themselves."""

    listing: Listing
    since: str
    seen: frozenset[str]
    added: int = 0

    @classmethod
    def begun(cls, listing: Listing, shown: Sequence[Submission], now_ms: int) -> "Watch":
        """The watch of a list that was just made, with its newest ones."""
        since = listing.asked.get("since", iso(0))
        if shown:
            return cls(listing, since, frozenset()).after(shown, added=0)
        return cls(listing, _later(since, now_ms - _BACK_MS), frozenset())

    @classmethod
    def of(cls, listing: Listing, query: Mapping[str, str]) -> "Watch":
        """The watch that an address continues."""
        added = query.get(_ADDED, "")
        return cls(
            listing,
            query.get(_SINCE, ""),
            frozenset(query.get(_SEEN, "").split(",")),
            int(added) if added.isascii() and added.isdecimal() and len(added) < 4 else 0,
        )

    def after(self, found: Sequence[Submission], added: int) -> "Watch":
        """How it goes on after an answer, of which so many were added."""
        newest_ms = max(parse_moment(submission.received_at) for submission in found)
        seen = self.seen.union(submission.id for submission in found)
        return Watch(
            self.listing,
            _later(self.since, newest_ms - _BACK_MS),
            frozenset(sorted(seen, reverse=True)[:_SEEN_MAX]),
            self.added + added,
        )

    @property
    def asked(self) -> dict[str, str]:
        """What to ask the API for."""
        return self.listing.asked | {"since": self.since}

    @property
    def url(self) -> str:
        """What the browser asks for next."""
        own = {_SINCE: self.since, _SEEN: ",".join(sorted(self.seen)), _ADDED: str(self.added)}
        return address(PATH, self.listing.context | own)


def _later(moment: str, time_ms: int) -> str:
    return max(moment, iso(time_ms), key=parse_moment)
