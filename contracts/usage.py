"""Counts of what leaves no submission behind, on their way to the backend's tables.

A *session* is one life of a process's memory. It numbers its reports and sends one until that is
acknowledged, unchanged, before the next: whoever counts them keeps the last number of each session
and so counts each report once, however often it arrives.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any

_DAY_MS = 24 * 3600 * 1000
_EPOCH = date(1970, 1, 1).toordinal()
REPORT_COUNTS_MAX = 2_000
"""Counts that one report may carry."""


@dataclass(frozen=True, slots=True)
class Count:
    """How often something happened to an account on a day (``2026-06-30``, in UTC). ``name`` is an
    outcome's label, or another kind of event."""

    account_id: str
    day: str
    name: str
    count: int


@dataclass(frozen=True, slots=True)
class UsageReport:
    """What happened in a session since its report before; ``sequence`` counts from 1."""

    session: str
    sequence: int
    counts: tuple[Count, ...]


class UsageCounts:
    """The counts of one session that are not acknowledged yet."""

    def __init__(self, session: str) -> None:
        self._session = session
        self._counts: Counter[tuple[str, str, str]] = Counter()
        self._sequence = 0
        self._sent: UsageReport | None = None

    def add(self, account_id: str, at_ms: int, name: str) -> None:
        """Counts one event; ``at_ms`` is Unix milliseconds."""
        self._counts[account_id, day_of(at_ms), name] += 1

    def report(self) -> UsageReport | None:
        """What is to be sent: the report that is not acknowledged, or the next; None if there is
        nothing to say."""
        if self._sent is None and self._counts:
            self._sequence += 1
            keys = list(self._counts)[:REPORT_COUNTS_MAX]
            counts = tuple(Count(*key, self._counts.pop(key)) for key in keys)
            self._sent = UsageReport(self._session, self._sequence, counts)
        return self._sent

    def acknowledge(self) -> None:
        """The report has been counted."""
        self._sent = None


def day_of(at_ms: int) -> str:
    """The day, in UTC, of an instant in Unix milliseconds: ``2026-06-30``."""
    return _day(at_ms // _DAY_MS)


@lru_cache(maxsize=64)
def _day(number: int) -> str:
    return date.fromordinal(_EPOCH + number).isoformat()


def report_of(document: Mapping[str, Any]) -> UsageReport:
    """A report from its JSON document. Raises KeyError, TypeError, ValueError."""
    counts = tuple(_count_of(count) for count in document["counts"])
    if len(counts) > REPORT_COUNTS_MAX:
        raise ValueError(f"more than {REPORT_COUNTS_MAX} counts")
    return UsageReport(document["session"], int(document["sequence"]), counts)


def _count_of(document: Mapping[str, Any]) -> Count:
    count = int(document["count"])
    if count < 1:
        raise ValueError("a count below one")
    day = date.fromisoformat(document["day"]).isoformat()
    return Count(document["account_id"], day, document["name"], count)
