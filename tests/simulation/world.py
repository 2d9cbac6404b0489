"""Gateways, backends and the network between them, with all that may go wrong; a seed decides.

Checked after every commit: used and leased units within the limit, in each month; the counters
those of the rows. Checked at the end, when the faults are over: every acknowledged id stands for a
submission, a key for one only, and every unit that is not used is free and can be used.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count

from backend.internal.intake import Intake
from backend.internal.leases import LeaseDesk
from backend.plans.catalogue import Plan, Plans
from backend.usage.months import month_of
from contracts import internal
from contracts.submissions import ItemStatus, Submission
from gateway.leases import LeaseBook
from tests.simulation.backends import Backend, SimulatedDesk
from tests.simulation.database import SimulatedDatabase
from tests.simulation.gateways import Gateway
from tests.simulation.schedule import Schedule, SimulatedClock

# Ten seconds before a month ends.
_START_MS = 1_780_271_990_000
_TIMEOUT_SECONDS = 2.0
_FORMS = {"frm_a1": "acc_a", "frm_a2": "acc_a", "frm_b": "acc_b", "frm_u": "acc_u"}
_PLANS = {"acc_a": "limited", "acc_b": "limited", "acc_u": "open"}


class Violation(AssertionError):
    """A guarantee was broken."""


@dataclass(frozen=True)
class Variant:
    """What is simulated; a mutant replaces one of them."""

    book_type: type[LeaseBook] = LeaseBook
    gateway_type: type[Gateway] = Gateway
    intake_type: type[Intake] = Intake
    desk_type: type[LeaseDesk] = SimulatedDesk


@dataclass(frozen=True)
class Weather:
    """How bad the network is: probabilities, and seconds."""

    loss: float = 0.0
    duplication: float = 0.0
    delay: float = 0.01
    late: float = 0.0
    late_seconds: float = 6.0


FAIR = Weather()


class World:
    """One run."""

    def __init__(
        self, seed: int, *, limit: int, gateways: int = 3, backends: int = 2, variant: Variant
    ) -> None:
        self.schedule = Schedule(seed)
        self.limit = limit
        self.weather = FAIR
        self.is_cut = False
        self.acknowledged: dict[str, Submission] = {}
        self.keys: dict[str, tuple[str, str]] = {}
        self._ended: dict[str, int] = {}
        self._ids = count(1)
        self.database = SimulatedDatabase(_PLANS, _FORMS)
        self.database.on_commit = self.check
        plans = Plans({"limited": _plan(limit), "open": _plan(None)}, "open")
        self.backends = [
            Backend(
                self.schedule,
                self.database,
                plans,
                self._clock(),
                variant.intake_type,
                variant.desk_type,
            )
            for _ in range(backends)
        ]
        self.gateways = [
            variant.gateway_type(self, f"gateway-{n}", self._clock(), variant.book_type)
            for n in range(gateways)
        ]

    def _clock(self) -> SimulatedClock:
        return SimulatedClock(self.schedule, _START_MS + self.schedule.random.randint(-2000, 2000))

    def mint(self, kind: str) -> str:
        return f"{kind}_{next(self._ids):026d}"

    def account_of(self, form_id: str) -> str:
        return _FORMS[form_id]

    def needs_lease(self, form_id: str) -> bool:
        return _PLANS[_FORMS[form_id]] == "limited"

    def acknowledge(self, submission_id: str, submission: Submission) -> None:
        self.acknowledged[submission_id] = submission

    def submission(self, now_ms: int, form_id: str, key: str | None) -> Submission:
        """A post, accepted by a gateway and on its way."""
        id = self.mint("sub")
        if key is not None:
            self.keys[id] = (form_id, key)
        return Submission(
            id, form_id, now_ms, "received", id, "{}", "[]", idempotency_key=key, fingerprint=key
        )

    def call(
        self, gateway: Gateway, path: str, body: bytes, then: Callable[[bytes | None], None]
    ) -> None:
        """Asks one of the backends; the caller waits for a time, and then takes no answer."""
        is_waiting, life = True, gateway.life

        def end(answer: bytes | None) -> None:
            nonlocal is_waiting
            if is_waiting and gateway.life == life:
                is_waiting = False
                then(answer)

        gateway.later(_TIMEOUT_SECONDS, lambda: end(None))
        backend = self.schedule.random.choice(self.backends)
        if self.is_cut or not backend.is_up:
            gateway.later(0.01, lambda: end(None))
            return

        def answer(result: bytes) -> None:
            for delay in self._delays():
                gateway.later(delay, lambda: end(result))

        for delay in self._delays():
            self.schedule.after(delay, lambda: backend.serve(path, body, answer))

    def _delays(self) -> list[float]:
        """When the copies of a message arrive; none if it is lost."""
        random, weather = self.schedule.random, self.weather
        if random.random() < weather.loss:
            return []
        copies = 2 if random.random() < weather.duplication else 1
        return [
            random.random()
            * (weather.late_seconds if random.random() < weather.late else weather.delay)
            for _ in range(copies)
        ]

    def check(self) -> None:
        """What holds after every commit. Raises Violation."""
        leased = dict.fromkeys((row[:2] for row in self.database.rows(_MONTHS)), 0)
        for account, month, units in self.database.rows(_LEASED):
            leased[account, month] = units
        total = 0
        for account, month, used, reserved in self.database.rows(_MONTHS):
            total += used
            if reserved != leased[account, month] or reserved < 0:
                raise Violation(f"{reserved} units on lease in {month}, not {leased}")
            if _PLANS[account] == "limited" and used + reserved > self.limit:
                raise Violation(f"{used} used and {reserved} on lease of {self.limit} in {month}")
        if total != self.database.value("SELECT coalesce(sum(charged), 0) FROM submissions"):
            raise Violation(f"{total} units counted, but not as many rows")
        for id, granted in self.database.rows(_ENDED):
            if granted > self._ended.setdefault(id, granted):
                raise Violation(f"{id} was charged for what was not on lease any more")
            self._ended[id] = granted

    def settle(self) -> None:
        """Ends the faults, waits until all is said and done, and lets the gateways stop."""
        self.weather, self.is_cut = FAIR, False
        for backend in self.backends:
            if not backend.is_up:
                backend.restart()
        for gateway in self.gateways:
            gateway.paused_until = 0.0
            if not gateway.is_up:
                gateway.start()
        self._run_until_quiet()
        for gateway in self.gateways:
            gateway.book.close()
        self._run_until_quiet()

    def _run_until_quiet(self) -> None:
        for _ in range(100):
            self.schedule.run(self.schedule.now + 4.0)
            if not any(map(_is_busy, self.gateways)):
                return
        raise Violation("something is never drained or stated")

    def check_end(self) -> None:
        """What holds when all is over. Raises Violation."""
        posts = dict(self.database.rows("SELECT id, payload FROM submissions"))
        if len(set(posts.values())) < len(posts):
            raise Violation(f"a post was stored twice: {sorted(posts.values())}")
        stored = posts.keys()
        aliases = dict(self.database.rows("SELECT id, submission_id FROM submission_aliases"))
        lost = [id for id in self.acknowledged if aliases.get(id, id) not in stored]
        if lost:
            raise Violation(f"acknowledged and lost: {lost}")
        bound = defaultdict(list)
        for id in stored & self.keys.keys():
            bound[self.keys[id]].append(id)
        doubled = [ids for ids in bound.values() if len(ids) > 1]
        if doubled:
            raise Violation(f"stored twice under one key: {doubled}")
        stranded = self.database.rows(_STRANDED)
        if stranded:
            raise Violation(f"on lease for ever: {stranded}")
        for form_id in ("frm_a1", "frm_b"):
            self._use_up(form_id)

    def _use_up(self, form_id: str) -> None:
        """Every unit that is left can be used, and no more."""
        clock = self.backends[0].clock
        month = month_of(clock.now_ms())
        used = self.database.value(
            "SELECT coalesce(sum(submissions), 0) FROM usage_months "
            f"WHERE account_id = '{_FORMS[form_id]}' AND month = '{month}'"
        )
        left = self.limit - used
        stored: list[bool] = []
        batch = [self.submission(clock.now_ms(), form_id, None) for _ in range(left + 1)]
        self.backends[0].serve(
            internal.SUBMISSIONS,
            internal.encode_batch(batch),
            lambda answer: stored.extend(
                result.status is ItemStatus.STORED
                for result in internal.decode_batch_answer(answer).results
            ),
        )
        self.schedule.run(self.schedule.now + 5.0)
        if stored != [True] * left + [False]:
            raise Violation(f"{sum(stored)} of {left} units that are left can be used")


def _is_busy(gateway: Gateway) -> bool:
    # What is due is no longer so once it is on its way.
    return bool(gateway.spool or gateway.is_stating or gateway.book.due.is_set())


def posts_of(gateway: Gateway, submissions: Sequence[Submission]) -> Callable[[], None]:
    """The arrival of posts, if there is somebody to take them."""

    def arrive() -> None:
        if gateway.is_up:
            gateway.later(0.0, lambda: gateway.post(submissions))

    return arrive


_MONTHS = "SELECT account_id, month, submissions, reserved FROM usage_months"
_LEASED = "SELECT account_id, month, sum(granted - settled) FROM leases GROUP BY account_id, month"
_ENDED = "SELECT id, granted FROM leases WHERE ended_at IS NOT NULL"
_STRANDED = "SELECT * FROM leases WHERE ended_at IS NULL OR granted > settled"


def _plan(submissions: int | None) -> Plan:
    return Plan(submissions_per_month=submissions, file_megabytes=0, requests_per_minute=1)
