"""Gateway processes: the real lease book, and in the place of the rest as much as it takes to have
its posts committed, spooled and drained. The spool survives; everything else ends with a process.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from contracts import internal
from contracts.leases import LeaseStatement
from contracts.submissions import ItemResult, ItemStatus, Submission
from gateway.leases import LeaseBook
from tests.simulation.schedule import Schedule, SimulatedClock

_TICK_SECONDS = 0.25
_SPOOL_SECONDS = 0.004
_DRAIN_ROWS = 6


class Surroundings(Protocol):
    """What a gateway needs of the world."""

    schedule: Schedule

    def call(
        self, gateway: "Gateway", path: str, body: bytes, then: Callable[[bytes | None], None]
    ) -> None:
        """Asks a backend; None is no answer."""

    def acknowledge(self, submission_id: str, submission: Submission) -> None:
        """A visitor is told that this id stands for the post."""

    def account_of(self, form_id: str) -> str: ...

    def needs_lease(self, form_id: str) -> bool: ...

    def mint(self, kind: str) -> str:
        """A new id."""


@dataclass
class Row:
    """A submission in the spool."""

    submission: Submission
    lease_id: str | None


class Gateway:
    """One gateway with its spool."""

    def __init__(
        self, world: Surroundings, name: str, clock: SimulatedClock, book_type: type[LeaseBook]
    ) -> None:
        self._world = world
        self.name = name
        self.clock = clock
        self._book_type = book_type
        self.spool: dict[str, Row] = {}
        self.paused_until = 0.0
        self.life = 0
        self.is_up = False
        self.start()

    def start(self) -> None:
        """A new process on the same spool."""
        self.life += 1
        self.is_up = True
        spooled = Counter(row.lease_id for row in self.spool.values() if row.lease_id)
        self.book = self._book_type(
            self.name, spooled, self.clock, lambda: self._world.mint("session")
        )
        self._revision = 0
        self._is_away = False
        self.is_stating = self._is_draining = self._is_polling = False
        self.later(0.0, self._tick)

    def crash(self) -> None:
        """Ends all that is under way."""
        self.life += 1
        self.is_up = False

    def later(self, seconds: float, work: Callable[[], None]) -> None:
        """Does it, unless this process has ended by then; after the pause, if there is one."""
        life, schedule = self.life, self._world.schedule

        def run() -> None:
            if self.life != life:
                return
            if schedule.now < self.paused_until:
                schedule.after(self.paused_until - schedule.now + schedule.random.random(), run)
                return
            work()

        schedule.after(seconds, run)

    def post(self, submissions: Sequence[Submission]) -> None:
        """Takes posts from visitors."""
        if self._is_away:
            for submission in submissions:
                self._take_in(submission)
            return
        self._send(submissions, lambda results: self._answer(submissions, results))

    def _send(
        self,
        submissions: Sequence[Submission],
        then: Callable[[list[ItemResult] | None], None],
    ) -> None:
        page = self.book.page
        body = internal.encode_batch(submissions, self.book.asker)

        def answered(answer: bytes | None) -> None:
            if answer is None:
                then(None)
                return
            decoded = internal.decode_batch_answer(answer)
            self.book.learn(decoded.leases, page)
            then(decoded.results)

        self._world.call(self, internal.SUBMISSIONS, body, answered)

    def _answer(self, submissions: Sequence[Submission], results: list[ItemResult] | None) -> None:
        self._is_away = results is None
        if results is None:
            for submission in submissions:
                self._take_in(self.to_spool(submission))
            return
        for submission, result in zip(submissions, results, strict=True):
            if result.status is not ItemStatus.REJECTED:
                self._world.acknowledge(result.id, submission)

    def to_spool(self, submission: Submission) -> Submission:
        """What is spooled after a send that may have arrived: the same, with its id."""
        return submission

    def _take_in(self, submission: Submission) -> None:
        lease_id = None
        if self._world.needs_lease(submission.form_id):
            lease_id = self.book.take(self._world.account_of(submission.form_id))
            if lease_id is None:
                return
        if self._world.schedule.random.random() < 0.03:
            self.book.put_back(lease_id)
            return
        self.later(_SPOOL_SECONDS, lambda: self._spool(submission, lease_id))

    def _spool(self, submission: Submission, lease_id: str | None) -> None:
        earlier = self._spooled_with_key_of(submission)
        if earlier is not None:
            self.book.put_back(lease_id)
            self._world.acknowledge(earlier, submission)
            return
        self.spool[submission.id] = Row(submission, lease_id)
        self.later(_SPOOL_SECONDS, lambda: self._world.acknowledge(submission.id, submission))

    def _spooled_with_key_of(self, submission: Submission) -> str | None:
        key = submission.idempotency_key
        return next(
            (
                row.submission.id
                for row in self.spool.values()
                if key is not None
                and (row.submission.form_id, row.submission.idempotency_key)
                == (submission.form_id, key)
            ),
            None,
        )

    def _tick(self) -> None:
        self.later(_TICK_SECONDS * (0.5 + self._world.schedule.random.random()), self._tick)
        self.book.end_idle()
        self._state()
        self._drain()
        self._poll()

    def _state(self) -> None:
        if self.is_stating or not self.book.due.is_set():
            return
        self.is_stating = True
        statement = self.book.statement()
        body = internal.encode_statement(statement)
        self._world.call(
            self, internal.LEASES, body, lambda answer: self._stated(statement, answer)
        )

    def _stated(self, statement: LeaseStatement, answer: bytes | None) -> None:
        self.is_stating = False
        if answer is None:
            self.book.fail()
            return
        self.book.acknowledge(statement, internal.decode_session(answer))
        self._state()

    def _drain(self) -> None:
        if self._is_draining or not (self.spool or self._is_away):
            return
        self._is_draining = True
        rows = list(self.spool.values())[:_DRAIN_ROWS]
        for row in rows:
            row.submission.is_promised = True
            row.submission.lease_id = row.lease_id
        self._send([row.submission for row in rows], lambda results: self._drained(rows, results))

    def _drained(self, rows: Sequence[Row], results: list[ItemResult] | None) -> None:
        self._is_away = results is None
        if results is None:
            self._is_draining = False
            return
        for row, result in zip(rows, results, strict=True):
            self.settle(row, result)
        self.later(_SPOOL_SECONDS, lambda: self._take_off(rows))

    def settle(self, row: Row, result: ItemResult) -> None:
        """Tells the book."""
        self.book.settle(row.lease_id)

    def _take_off(self, rows: Sequence[Row]) -> None:
        self._is_draining = False
        for row in rows:
            del self.spool[row.submission.id]

    def _poll(self) -> None:
        if not self._is_polling:
            self._is_polling = True
            self._world.call(self, internal.CHANGES, b"%d" % self._revision, self._polled)

    def _polled(self, answer: bytes | None) -> None:
        self._is_polling = False
        if answer is not None:
            changes = internal.decode_changes(answer)
            self._revision = changes.revision
            self.book.apply(changes)
            self._state()
