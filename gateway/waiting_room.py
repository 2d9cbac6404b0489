"""How many may wait for a batch, so that none of them waits for long.

A bound on their number alone is a bound on time only while batches are quick: a thousand that wait
for a backend which takes 10,000 a second are gone in a tenth of one, and behind one that takes two
seconds over a batch the last of them waits for four. So the bound follows what batches take.
"""


class WaitingRoom:
    """Bounds a queue that is emptied in batches by ``senders`` at once.

    A round is a batch of each sender. Whoever is in time for the next round is let in however long
    that takes, so that senders never lack work; nobody is if ``waiting_max`` are there.
    """

    def __init__(self, *, senders: int, waiting_max: int, seconds_max: float) -> None:
        """``seconds_max`` bounds the wait of who comes behind the next round, if batches take as
        long as the last one did."""
        self._senders = senders
        self._waiting_max = waiting_max
        self._seconds_max = seconds_max
        self._batch_seconds = 0.0

    def note(self, batch_seconds: float) -> None:
        """A batch took so long, whatever became of it."""
        self._batch_seconds = batch_seconds

    def admits(self, waiting: int, batch_items: int) -> bool:
        """Whether one more may join so many, of which a batch takes ``batch_items``."""
        if waiting >= self._waiting_max:
            return False
        rounds_ahead = waiting // (batch_items * self._senders)
        # All senders come back within the time of a batch, for each round and for its own.
        return not rounds_ahead or (rounds_ahead + 1) * self._batch_seconds <= self._seconds_max
