"""Backend processes on one database: the real intake and the real lease desk."""

from collections.abc import Callable, Collection, Coroutine
from functools import partial
from typing import Any, cast

from backend.db import Database
from backend.internal import lease_store
from backend.internal.intake import Intake
from backend.internal.lease_store import AccountMonth
from backend.internal.leases import LeaseDesk
from backend.plans.catalogue import Plans
from contracts import internal
from tests.simulation.database import Pause, SimulatedDatabase
from tests.simulation.schedule import Running, Schedule, SimulatedClock

_LOOKS = 10


class SimulatedDesk(LeaseDesk):
    """Waits in virtual time for what it has recalled."""

    async def recall(self, months: Collection[AccountMonth]) -> None:
        is_awaited = await self._database.transact(partial(self._recall, months))
        for _ in range(_LOOKS if is_awaited else 0):
            await Pause(1.0 / _LOOKS)
            rows = await self._database.transact(
                lambda transaction: lease_store.outstanding(transaction, months)
            )
            if not any(self._was_recalled(row, 1_000) for row in rows):
                return


class Backend:
    """One process. What it has in memory ends with it."""

    def __init__(
        self,
        schedule: Schedule,
        database: SimulatedDatabase,
        plans: Plans,
        clock: SimulatedClock,
        intake_type: type[Intake],
        desk_type: type[LeaseDesk],
    ) -> None:
        self._schedule = schedule
        self._simulated = database
        self._database = cast(Database, database)
        self._plans = plans
        self.clock = clock
        self._types = intake_type, desk_type
        self._running: set[Running] = set()
        self.is_up = True
        self._start()

    def _start(self) -> None:
        intake_type, desk_type = self._types
        self._intake = intake_type(self._database, self._plans, self.clock)
        self._intake.leases = desk_type(self._database, self.clock)

    def crash(self) -> None:
        """Ends all that is under way, wherever it is."""
        self.is_up = False
        for running in self._running:
            running.kill()
        self._running.clear()

    def restart(self) -> None:
        self.is_up = True
        self._start()

    def serve(self, path: str, body: bytes, answer: Callable[[bytes], None]) -> None:
        """Begins with a request; ``answer`` is called if and when there is one."""

        def end(result: bytes | None) -> None:
            if result is not None:
                answer(result)

        if self.is_up:
            self._running.add(Running(self._schedule, self._handle(path, body), end))

    def _handle(self, path: str, body: bytes) -> Coroutine[Any, None, bytes]:
        if path == internal.SUBMISSIONS:
            return self._commit(body)
        if path == internal.LEASES:
            return self._state(body)
        return self._changes(int(body))

    async def _commit(self, body: bytes) -> bytes:
        answer = await self._intake.answer(internal.decode_asking_batch(body))
        return internal.encode_results(answer.results, answer.leases)

    async def _state(self, body: bytes) -> bytes:
        session = await self._intake.leases.state(internal.decode_statement(body))
        return internal.encode_session(session)

    async def _changes(self, since: int) -> bytes:
        await Pause(0.001)
        revision, recalls = self._simulated.changes(since)
        return internal.encode_changes(
            internal.ChangesAnswer("epoch", revision, False, {}, (), recalls)
        )
