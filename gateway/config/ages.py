"""How current a thing is that a cache holds: fresh, stale or expired.

Fresh while the feed is heard: what it does not mention has not changed, however long ago it was
looked up. Stale when the feed has been silent for ten seconds, or has started anew and could not
say what changed meanwhile: a stale thing is used as it is and looked up again in the background.
Expired when the backend has vouched for it for the last time a day ago: it is not used at all.
Ages are those of the monotonic clock; only a restart has to trust the clock on the wall.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from contracts.internal import ChangesAnswer
from contracts.runtime.clock import Clock

SILENT_SECONDS = 10.0
EXPIRED_SECONDS = 24 * 3600.0

Thing = TypeVar("Thing")


class Age(Enum):
    """What may be done with a thing."""

    FRESH = "fresh"
    STALE = "stale"
    EXPIRED = "expired"


class Era:
    """A stretch of the feed without a gap, and the monotonic time at which it was last heard."""

    __slots__ = ("heard_at",)

    def __init__(self) -> None:
        self.heard_at = float("-inf")


@dataclass(frozen=True, slots=True)
class Held(Generic[Thing]):
    """A thing, when it was looked up (monotonic), and the era that keeps it current."""

    thing: Thing
    known_at: float
    era: Era


@dataclass(frozen=True, slots=True)
class Saved(Generic[Thing]):
    """A thing as it outlives the process: when the backend last vouched for it (Unix milliseconds),
    and whether the feed, asked for what has changed since, keeps it current."""

    thing: Thing
    known_at_ms: int
    is_followed: bool


@dataclass(frozen=True, slots=True)
class Moment:
    """Where the feed and the clocks stood at one moment; may be used in another thread."""

    epoch: str
    revision: int
    now_ms: int
    monotonic: float
    era: Era
    heard_at: float

    def save(self, held: Held[Thing]) -> Saved[Thing]:
        """The thing, without the monotonic clock, which ends with the process."""
        is_followed = held.era is self.era
        heard_at = self.heard_at if is_followed else held.era.heard_at
        seconds = self.monotonic - max(held.known_at, heard_at)
        return Saved(held.thing, self.now_ms - round(seconds * 1000), is_followed)


class Ages:
    """Where the feed stands, for one cache, and what that makes of the things it holds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lost = Era()
        self.epoch = ""
        self.revision = 0
        self.era = Era()

    def heard(self, changes: ChangesAnswer) -> None:
        """Takes note of an answer of the feed."""
        if changes.is_reset:
            self.era = Era()
        self.era.heard_at = self._clock.monotonic()
        self.epoch, self.revision = changes.epoch, changes.revision

    def of(self, held: Held[Thing]) -> Age:
        """How current the thing is."""
        era = held.era
        seconds = self._clock.monotonic() - max(held.known_at, era.heard_at)
        if seconds < SILENT_SECONDS and era is self.era:
            return Age.FRESH
        return Age.STALE if seconds < EXPIRED_SECONDS else Age.EXPIRED

    def hold(self, thing: Thing) -> Held[Thing]:
        """The thing, as the backend has just told it."""
        return Held(thing, self._clock.monotonic(), self.era)

    def moment(self) -> Moment:
        """Where things stand now."""
        now_ms, monotonic = self._clock.now_ms(), self._clock.monotonic()
        return Moment(self.epoch, self.revision, now_ms, monotonic, self.era, self.era.heard_at)

    def resume(self, epoch: str, revision: int) -> None:
        """Goes on where the feed of an earlier process stood."""
        self.epoch, self.revision = epoch, revision

    def hold_again(self, saved: Saved[Thing]) -> Held[Thing]:
        """The thing, as an earlier process held it; not fresh before the feed is heard."""
        # A wall clock that was set back would make it younger than new.
        seconds = max((self._clock.now_ms() - saved.known_at_ms) / 1000, SILENT_SECONDS)
        era = self.era if saved.is_followed else self._lost
        return Held(saved.thing, self._clock.monotonic() - seconds, era)
