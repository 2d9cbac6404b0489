"""Empties the outbox, whatever is in it."""

from functools import partial

from backend.db import Database
from backend.delivery import outbox_store
from backend.delivery.expansion import ROWS, expand, expand_row
from backend.transaction import Conflict
from contracts.problems import Rejected
from contracts.runtime.clock import Clock
from contracts.runtime.telemetry import get_logger

_ATTEMPTS = 3
_log = get_logger("backend")


class Expander:
    """Makes deliveries of the outbox. A row that this fails for is set aside, so that it keeps
    nothing from the others; it is tried again when a backend starts."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def readmit(self) -> None:
        """Puts back what was set aside: this release may know better. Raises
        Rejected(UNAVAILABLE)."""
        async with self._database.write() as connection:
            await outbox_store.readmit(connection)

    async def expand(self, most: int = ROWS) -> bool:
        """Makes deliveries of the oldest rows, ``most`` at once; whether there may be more. Raises
        Rejected(UNAVAILABLE)."""
        ids = await self._database.look(partial(outbox_store.outbox_ids, most=most))
        if not ids:
            return False
        try:
            return await self._database.transact(
                partial(expand, most=most, now_ms=self._clock.now_ms())
            )
        except Rejected:
            raise
        except Exception:
            # One of them is in the way of all, or another backend answers the same visitor.
            for id in ids:
                await self._expand_row(id)
            return True

    async def _expand_row(self, id: str) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                await self._database.transact(
                    partial(expand_row, id=id, now_ms=self._clock.now_ms())
                )
            except Rejected:
                raise
            except Exception as error:
                if isinstance(error, Conflict) and attempt < _ATTEMPTS:
                    continue
                _log.exception("no deliveries can be made of a row of the outbox", outbox_id=id)
                async with self._database.write() as connection:
                    await outbox_store.set_aside(connection, id, self._clock.now_ms())
            return
