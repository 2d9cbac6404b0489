"""Brings what is spooled to the backend, as soon as it answers again.

In order of arrival, one batch at a time, paced. A submission leaves the spool after its receipt, so
that a crash at any point sends it again, which is harmless: it carries its id. One that the backend
refuses is set aside with the reason, and shown, never dropped.
"""

import asyncio
import random
from collections.abc import Sequence

from contracts.internal import BATCH_ITEMS_MAX, UndecodableMessage
from contracts.problems import Problem
from contracts.runtime.clock import Clock
from contracts.runtime.telemetry import get_logger
from contracts.submissions import ItemResult, ItemStatus
from gateway.leases import LeaseBook
from gateway.outage import Outage
from gateway.pace import Pace
from gateway.spool.spool import Spool, Spooled, SpoolError
from gateway.uploads import send_files
from gateway.upstream import Upstream, UpstreamFailed, UpstreamUnavailable, rejection

_BATCH_BYTES = 1_048_576
_SPOOL_RETRY_SECONDS = 1.0
# So often the backend may fail on one submission, alone, before that is taken for its fault.
_FAILURES_MAX = 5


class Drain:
    """The one task that empties the spool, and notices that the backend is back."""

    def __init__(
        self, spool: Spool, upstream: Upstream, outage: Outage, leases: LeaseBook, clock: Clock
    ) -> None:
        self._spool = spool
        self._upstream = upstream
        self._outage = outage
        self._leases = leases
        self._clock = clock
        self._pace = Pace(clock, BATCH_ITEMS_MAX)
        self._failures_in_a_row = 0
        self._log = get_logger("gateway")

    async def run(self) -> None:
        """Works until cancelled."""
        while True:
            if not self._outage.is_on and self._spool.count == 0:
                self._pace.end()
                await self._outage.work()
            await asyncio.sleep(await self._round())

    async def _round(self) -> float:
        """Sends some rows, or only asks; the seconds until the next round."""
        started = self._clock.monotonic()
        try:
            rows = await self._spool.oldest(self._pace.rows, _BATCH_BYTES)
            results = await self._send(rows)
            self._failures_in_a_row = 0
            self._pace.begin(self._arrivals_per_second())
            self._outage.end()
            await self._take_off(rows, results)
        except (UpstreamUnavailable, UndecodableMessage) as error:
            self._outage.begin(str(error))
            return self._pace.fail() * random.uniform(0.8, 1.2)  # noqa: S311 -- jitter
        except (SpoolError, OSError) as error:
            # What was sent and not taken off is sent again, which is harmless.
            self._log.error("spool cannot be worked with", error=str(error))
            return _SPOOL_RETRY_SECONDS
        return self._pace.rest_after(len(rows), self._clock.monotonic() - started)

    async def _send(self, rows: Sequence[Spooled]) -> Sequence[ItemResult]:
        for row in rows:
            await send_files(self._upstream, row.submission.files, row.files)
        try:
            return await self._upstream.commit([row.submission for row in rows])
        except UpstreamFailed:
            self._failures_in_a_row += 1
            if len(rows) != 1 or self._failures_in_a_row < _FAILURES_MAX:
                raise
            return [rejection(row.submission) for row in rows]

    async def _take_off(self, rows: Sequence[Spooled], results: Sequence[ItemResult]) -> None:
        taken: list[Spooled] = []
        for row, result in zip(rows, results, strict=True):
            if result.status is ItemStatus.REJECTED:
                problem = result.problem or "internal"
                self._log.error("spooled submission refused", id=row.submission.id, why=problem)
                await self._spool.reject(row.sequence, problem, "refused by the backend")
                if problem != Problem.INTERNAL.slug:
                    # Of what failed there, a late copy may be stored yet: its unit stays taken.
                    self._leases.settle(row.lease_id)
            else:
                taken.append(row)
        if taken:
            await self._spool.settle([row.sequence for row in taken])
        for row in taken:
            self._leases.settle(row.lease_id)

    def _arrivals_per_second(self) -> float:
        return self._spool.count / max(1.0, self._spool.oldest_age_seconds)
