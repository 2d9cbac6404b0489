"""Drains the spools of workers that there are no more: of ``--workers 4`` after ``--workers 2``.

What they have acknowledged is delivered by the first worker that runs, one spool after the other,
when its own is empty. Each is opened once at least: its leases, too, are to be given back. The
folders stay, for the next time that there are as many workers.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

from contracts.runtime.clock import Clock
from contracts.runtime.settings import Settings
from contracts.runtime.telemetry import get_logger
from gateway.drain import Drain
from gateway.holder import read_holder
from gateway.lease_keeper import LeaseKeeper
from gateway.leases import LeaseBook
from gateway.outage import Outage
from gateway.spool.directory import numbered_spools, root_of
from gateway.spool.spool import Spool, SpoolError
from gateway.spool.summary import inspect
from gateway.upstream import Upstream

_LOOK_SECONDS = 5.0


class LeftBehind:
    """The one task that works with spools other than the process's own."""

    def __init__(
        self,
        settings: Settings,
        begin: int,
        upstream: Upstream,
        outage: Outage,
        is_busy: Callable[[], bool],
        clock: Clock,
    ) -> None:
        """Spools numbered ``begin`` or higher have no worker; ``is_busy`` says whether this one
        still drains its own."""
        self._settings = settings
        self._begin = begin
        self._upstream = upstream
        self._outage = outage
        self._is_busy = is_busy
        self._clock = clock
        self._seen: set[Path] = set()
        self._counts: dict[Path, int] = {}
        self._open: Spool | None = None
        self._log = get_logger("gateway")

    @property
    def count(self) -> int:
        """Submissions that wait in spools nobody has open, as of the last look, and in the one that
        is drained now."""
        return sum(self._counts.values()) + (self._open.count if self._open else 0)

    async def run(self) -> None:
        """Works until cancelled. A spool that cannot be worked with keeps none of the others."""
        while True:
            self._counts = await asyncio.to_thread(self._look)
            for directory in self._to_empty():
                try:
                    await self._empty(directory)
                except (SpoolError, OSError) as error:
                    self._log.error(
                        "spool left behind not drained", path=str(directory), error=str(error)
                    )
            await asyncio.sleep(_LOOK_SECONDS)

    def _is_to_wait(self) -> bool:
        return self._outage.is_on or self._is_busy()

    def _look(self) -> dict[Path, int]:
        """How many submissions wait in each spool that is nobody's and can be read."""
        spools = numbered_spools(root_of(self._settings)).items()
        found = ((path, self._count(path)) for number, path in spools if number >= self._begin)
        return {path: count for path, count in found if count is not None}

    def _count(self, directory: Path) -> int | None:
        try:
            summary = inspect(directory)
        except OSError as error:
            self._log.error("spool cannot be read", path=str(directory), error=str(error))
            return None
        return None if summary.is_in_use else summary.count

    def _to_empty(self) -> list[Path]:
        """Spools that may hold leases or submissions: rejected ones may have been put back into
        the queue since one was looked at."""
        if self._is_to_wait():
            return []
        return [path for path, count in self._counts.items() if count or path not in self._seen]

    async def _empty(self, directory: Path) -> None:
        spool = await Spool.open_with(self._settings, directory, self._clock)
        self._open = spool
        del self._counts[directory]
        try:
            count = spool.count
            holder = await asyncio.to_thread(read_holder, directory)
            leases = LeaseBook(holder, await spool.units_by_lease(), self._clock)
            keeper = LeaseKeeper(leases, self._upstream.state_leases)
            try:
                drain = Drain(spool, self._upstream, self._outage, leases, self._clock)
                await drain.empty(self._is_to_wait)
            finally:
                is_taken_note_of = await keeper.give_back()
            if is_taken_note_of:
                self._seen.add(directory)
            if count:
                self._log.warning("spool left behind drained", path=str(directory), count=count)
        finally:
            self._counts[directory] = spool.count
            self._open = None
            await spool.close()
