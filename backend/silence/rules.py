"""When a form has fallen silent.

Days are numbers of days in UTC (``date.toordinal``). A form *used to receive* if, in the 60 days
that end with the last one on which anything came, it received on five days at least, and ten
submissions in all. It has *stopped* when more whole days have gone by without any than three, and
than twice its longest gap in those 60 days, from one receiving day to the next. What the owner
changes may explain a pause, such as a form that was not live: days before the last change of the
form do not count.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

HISTORY_DAYS = 60
RECEIVING_DAYS_MIN = 5
SUBMISSIONS_MIN = 10
QUIET_DAYS = 3
_GAPS = 2
QUIET_DAYS_MAX = _GAPS * HISTORY_DAYS
"""After so many days it is a silence, whatever the history."""


@dataclass(frozen=True, slots=True)
class Silence:
    """The first whole day without any submission, and how many there have been."""

    first_day: int
    days: int


def find_silence(received: Mapping[int, int], changed_on: int, today: int) -> Silence | None:
    """The silence of a form that ``received`` so many submissions on each day, if it is one; the
    form was changed last on the day ``changed_on``."""
    last_day = max(received)
    history = {day: count for day, count in received.items() if day > last_day - HISTORY_DAYS}
    if len(history) < RECEIVING_DAYS_MIN or sum(history.values()) < SUBMISSIONS_MIN:
        return None
    longest_gap = max(behind - before for before, behind in pairwise(sorted(history)))
    quiet_days = today - max(last_day, changed_on) - 1
    if quiet_days <= max(QUIET_DAYS, _GAPS * longest_gap):
        return None
    return Silence(last_day + 1, today - last_day - 1)
