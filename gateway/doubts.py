"""Whose fault it is that a spooled submission cannot be sent: its own, or the backend's.

A backend that fails on one submission may fail on all, and then its failures say nothing of any.
So a row that failed alone is passed over, and the next ones are tried; while rows are passed over,
the oldest of them is tried again, alone, now and then. It is at fault only after it has failed many
times, over a minute, and before each of them the backend had stored something else. A file that
cannot be read is this machine's fault, which needs no such proof.
"""

from collections.abc import Callable
from enum import Enum

from contracts.runtime.clock import Clock

# Where one of two backends fails on everything, that leaves one row of 500 set aside.
_PROOFS = 9
# Doubled after each trial, so that what passes within the minute costs no row.
_TRIAL_SECONDS = 0.25
_TRIAL_SECONDS_MAX = 60.0
_NOW = float("-inf")


class Verdict(Enum):
    """What one failure of a row says, with those before it."""

    # It may be the backend that fails.
    OPEN = "open"
    # It says nothing of others: they go on.
    ROW = "row"
    # It is the row's fault.
    PROVEN = "proven"


class Doubts:
    """The rows that are passed over. Rows leave the spool in order, so that all that wait up to
    the sequence ``up_to`` are in doubt; it is 0 while none is."""

    def __init__(self, clock: Clock, count_stored: Callable[[], int]) -> None:
        """``count_stored`` goes up whenever the backend has stored something."""
        self.up_to = 0
        self._clock = clock
        self._count_stored = count_stored
        self._stored = count_stored()
        # The row on trial, the oldest in doubt.
        self._sequence = 0
        self._trials = 0
        self._proofs = 0
        self._due_at = _NOW

    @property
    def is_trial_due(self) -> bool:
        """Whether the oldest row in doubt is to be tried."""
        return self.up_to > 0 and self._clock.monotonic() >= self._due_at

    @property
    def rest_seconds(self) -> float:
        """How long until it is."""
        return max(0.0, self._due_at - self._clock.monotonic())

    def clear(self) -> None:
        """A trial has ended well: it was the backend, and nothing is in doubt."""
        self.up_to = 0
        self._sequence, self._due_at = 0, _NOW

    def judge(self, sequence: int, *, needs_proof: bool) -> Verdict:
        """Takes note that a row has failed alone. ``needs_proof`` says that the backend may be at
        fault: then only what it has stored since the last failure shows that it is not."""
        stored = self._count_stored()
        is_its_own = stored > self._stored or not needs_proof
        self._stored = stored
        if sequence <= self.up_to:
            return self._judge_trial(sequence, is_its_own)
        self.up_to = sequence
        return Verdict.ROW if is_its_own else Verdict.OPEN

    def _judge_trial(self, sequence: int, is_its_own: bool) -> Verdict:
        if sequence != self._sequence:
            self._sequence, self._trials, self._proofs = sequence, 0, 0
        rest = min(_TRIAL_SECONDS * 2**self._trials, _TRIAL_SECONDS_MAX)
        self._due_at = self._clock.monotonic() + rest
        self._trials += 1
        self._proofs += is_its_own
        if self._proofs < _PROOFS:
            # Whether the backend is away, what is posted meanwhile shows better.
            return Verdict.ROW
        # The next one's trial is due.
        self._sequence, self._due_at = 0, _NOW
        return Verdict.PROVEN
