"""What a gateway falls back on while the backend is away: its spool, its leases, and the drain.

Opened before anything is served and closed behind it. Without a spool (``FORMFLOW_SPOOL=off``)
there is nothing to fall back on, and posts are refused meanwhile.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from contracts.internal import ChangesAnswer
from contracts.runtime.clock import Clock
from contracts.runtime.failure import Failure
from contracts.runtime.settings import Settings, SettingsError
from gateway.drain import Drain
from gateway.holder import read_holder
from gateway.lease_keeper import LeaseKeeper
from gateway.leases import LeaseBook
from gateway.left_behind import LeftBehind
from gateway.outage import Outage
from gateway.shelter import Shelter
from gateway.spool.directory import root_of
from gateway.spool.spool import Spool, SpoolError, SpoolLocked
from gateway.upstream import Upstream


class Fallback:
    """The parts are None while it is closed, and always without a spool."""

    def __init__(
        self,
        settings: Settings,
        worker: int,
        workers: int,
        upstream: Upstream,
        outage: Outage,
        failure: Failure,
        clock: Clock,
    ) -> None:
        """Each ``worker`` of a gateway has a spool of its own, by its number among ``workers``."""
        self.spool: Spool | None = None
        self.leases: LeaseBook | None = None
        self.shelter: Shelter | None = None
        self._left_behind: LeftBehind | None = None
        self._is_wanted = settings.spool == "on"
        self._directory = root_of(settings) / str(worker)
        # One of them is enough; that of a worker that runs is never taken for one left behind.
        self._spools_begin = workers if worker == 0 else None
        self._settings = settings
        self._upstream = upstream
        self._outage = outage
        self._failure = failure
        self._clock = clock

    @property
    def left_behind(self) -> int:
        """Submissions that wait in spools of workers that there are no more."""
        return self._left_behind.count if self._left_behind else 0

    @property
    def has_room(self) -> bool:
        """Whether a post could be taken in, if the backend were away."""
        return self.spool is not None and self.spool.has_room and not self.spool.is_failed

    def apply(self, changes: ChangesAnswer) -> None:
        """Takes over what the feed says of leases."""
        if self.leases is not None:
            self.leases.apply(changes)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Opens the spool and drains it while the block runs.

        Raises:
            SettingsError: another process has the spool.
        """
        if not self._is_wanted:
            yield
            return
        spool = self.spool = await self._open()
        try:
            holder = await asyncio.to_thread(read_holder, self._directory)
            leases = self.leases = LeaseBook(holder, await spool.units_by_lease(), self._clock)
            self.shelter = Shelter(spool, leases, self._outage, self._failure)
            self._upstream.leases = leases
            async with self._working(spool, leases):
                yield
        finally:
            self.shelter = None
            await spool.close()

    @asynccontextmanager
    async def _working(self, spool: Spool, leases: LeaseBook) -> AsyncIterator[None]:
        drain = Drain(spool, self._upstream, self._outage, leases, self._clock)
        keeper = LeaseKeeper(leases, self._upstream.state_leases)
        loops = {"the drain": drain.run(), "the lease keeper": keeper.run()}
        if self._spools_begin is not None:
            left = self._left_behind = LeftBehind(
                self._settings,
                self._spools_begin,
                self._upstream,
                self._outage,
                is_busy=lambda: spool.count > 0 and not drain.is_in_doubt,
                clock=self._clock,
            )
            loops["the drain of spools left behind"] = left.run()
        try:
            async with self._failure.watching(loops):
                yield
        finally:
            await keeper.give_back()

    async def _open(self) -> Spool:
        try:
            return await Spool.open_with(self._settings, self._directory, self._clock)
        except SpoolLocked as error:
            raise SettingsError(
                f"FORMFLOW_SPOOL_DIR: {error}; give each gateway a directory of its own"
            ) from error
        except (SpoolError, OSError) as error:
            raise SettingsError(
                f"FORMFLOW_SPOOL_DIR: {self._directory} cannot be used: {error}; "
                "FORMFLOW_SPOOL=off does without"
            ) from error
