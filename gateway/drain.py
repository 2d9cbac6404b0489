"""Brings what is spooled to the backend, as soon as it answers again.

In order of arrival, one batch at a time, paced. A submission leaves the spool after its receipt, so
that a crash at any point sends it again, which is harmless: it carries its id. One that the backend
refuses is set aside with the reason, and shown, never dropped; so is one that cannot be sent, once
it is certain that this is not the backend's fault. Until then it is passed over, and tried again.
"""

import asyncio
import random
from collections.abc import Callable, Sequence

from contracts.internal import BATCH_ITEMS_MAX, UndecodableMessage
from contracts.problems import Problem
from contracts.runtime.clock import Clock
from contracts.runtime.telemetry import get_logger
from contracts.submissions import ItemResult, ItemStatus
from gateway.doubts import Doubts, Verdict
from gateway.leases import LeaseBook
from gateway.outage import Outage
from gateway.pace import Pace
from gateway.spool.spool import Spool, Spooled, SpoolError, SpoolFailed
from gateway.uploads import send_files
from gateway.upstream import Upstream, UpstreamFailed, UpstreamRefused, UpstreamUnavailable

_BATCH_BYTES = 1_048_576
_SPOOL_RETRY_SECONDS = 1.0
_LOOK_SECONDS = 0.5


class Unsendable(Exception):
    """A row that was sent alone, or a file of it, was not taken; the ``error`` says how."""

    def __init__(self, row: Spooled, error: Exception) -> None:
        super().__init__(str(error))
        self.row = row
        self.error = error


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
        self._doubts = Doubts(clock, lambda: upstream.stored_batches)
        self._log = get_logger("gateway")

    @property
    def is_in_doubt(self) -> bool:
        """Whether rows are left of which it is not known yet why they cannot be sent."""
        return self._doubts.up_to > 0

    async def run(self) -> None:
        """Works until cancelled."""
        while True:
            if not self._outage.is_on and self._spool.count == 0:
                self._pace.end()
                await self._outage.work()
            await asyncio.sleep(await self._round())

    async def empty(self, is_to_wait: Callable[[], bool]) -> None:
        """Works until nothing is left, but rests while ``is_to_wait``. Whether the backend is back
        somebody else asks.

        Raises:
            SpoolFailed: what is left cannot be got out of this spool.
        """
        while self._spool.count:
            if self._spool.is_failed:
                raise SpoolFailed("the spool's storage has failed", is_final=True)
            if is_to_wait():
                self._pace.end()
                await asyncio.sleep(_LOOK_SECONDS)
            else:
                await asyncio.sleep(await self._round())

    async def _round(self) -> float:
        """Sends some rows, or only asks; the seconds until the next round."""
        try:
            return await self._work()
        except (UpstreamUnavailable, UndecodableMessage) as error:
            return self._note_outage(error)
        except (SpoolError, OSError) as error:
            # What was sent and not taken off is sent again, which is harmless.
            self._log.error("spool cannot be worked with", error=str(error))
            return _SPOOL_RETRY_SECONDS

    async def _work(self) -> float:
        started = self._clock.monotonic()
        rows = await self._next_rows()
        if not rows and self._spool.count and not self._outage.is_on:
            # All that waits is in doubt.
            self._pace.end()
            return min(self._doubts.rest_seconds, _LOOK_SECONDS)
        try:
            results = await self._send(rows)
        except Unsendable as failure:
            return await self._judge(failure)
        if rows and rows[0].sequence <= self._doubts.up_to:
            self._doubts.clear()
        if rows or self._doubts.up_to == 0:
            self._pace.begin(self._arrivals_per_second())
        # While all that waits is in doubt, an empty batch ends the outage: what is posted then is
        # what shows whether the backend stores anything, and begins the next outage if it does not.
        self._outage.end()
        await self._take_off(rows[: len(results)], results)
        return self._pace.rest_after(len(results), self._clock.monotonic() - started)

    async def _next_rows(self) -> Sequence[Spooled]:
        if self._doubts.is_trial_due and not self._outage.is_on:
            rows = await self._spool.oldest(1, _BATCH_BYTES)
            if not rows or rows[0].sequence > self._doubts.up_to:
                # The last one in doubt is gone.
                self._doubts.clear()
            return rows
        return await self._spool.oldest(self._pace.rows, _BATCH_BYTES, self._doubts.up_to)

    async def _send(self, rows: Sequence[Spooled]) -> Sequence[ItemResult]:
        """The results of the first rows: of those before the one whose files cannot be sent."""
        rows = rows[: await self._send_files(rows)] if rows else rows
        try:
            results = await self._upstream.commit([row.submission for row in rows])
        except UpstreamFailed as error:
            if len(rows) != 1:
                raise
            raise Unsendable(rows[0], error) from error
        if any(map(_is_failure, results)) and not any(map(_is_stored, results)):
            # Perhaps none would be taken, and none of them is at fault.
            refused = UpstreamRefused("the backend does not take a submission as it is")
            if len(rows) != 1:
                raise refused
            raise Unsendable(rows[0], refused)
        return results

    async def _send_files(self, rows: Sequence[Spooled]) -> int:
        """Of how many rows, from the first, the files are stored. Raises Unsendable if of none."""
        for count, row in enumerate(rows):
            try:
                await send_files(self._upstream, row.submission.files, row.files)
            except (UpstreamFailed, UpstreamRefused, OSError) as error:
                if count == 0:
                    raise Unsendable(row, error) from error
                return count
        return len(rows)

    async def _judge(self, failure: Unsendable) -> float:
        """Passes over the row, or sets it aside; the seconds until the next round."""
        row, error = failure.row, failure.error
        if isinstance(error, UpstreamRefused) and await _is_damaged(row):
            await self._set_aside(row, Problem.INTERNAL.slug, "a file of it is damaged")
            return 0.0
        # What the disk of this machine says needs no proof.
        verdict = self._doubts.judge(row.sequence, needs_proof=not isinstance(error, OSError))
        if verdict is Verdict.OPEN:
            return self._note_outage(error)
        self._log.error("spooled submission not sent", id=row.submission.id, error=str(error))
        if verdict is Verdict.PROVEN:
            await self._set_aside(row, Problem.INTERNAL.slug, f"it cannot be sent: {error}")
        return 0.0

    def _note_outage(self, error: Exception) -> float:
        """The seconds until the next probe."""
        self._outage.begin(str(error))
        return self._pace.fail() * random.uniform(0.8, 1.2)  # noqa: S311 -- jitter

    async def _take_off(self, rows: Sequence[Spooled], results: Sequence[ItemResult]) -> None:
        taken: list[Spooled] = []
        for row, result in zip(rows, results, strict=True):
            if result.status is ItemStatus.REJECTED:
                problem = result.problem or Problem.INTERNAL.slug
                await self._set_aside(row, problem, "refused by the backend")
            else:
                taken.append(row)
        if taken:
            await self._spool.settle([row.sequence for row in taken])
        for row in taken:
            self._leases.settle(row.lease_id)

    async def _set_aside(self, row: Spooled, problem: str, detail: str) -> None:
        submission_id = row.submission.id
        self._log.error("spooled submission set aside", id=submission_id, why=problem, how=detail)
        await self._spool.reject(row.sequence, problem, detail)
        if problem != Problem.INTERNAL.slug:
            # Of what failed there, a late copy may be stored yet: its unit stays taken.
            self._leases.settle(row.lease_id)

    def _arrivals_per_second(self) -> float:
        return self._spool.count / max(1.0, self._spool.oldest_age_seconds)


async def _is_damaged(row: Spooled) -> bool:
    """Whether a file is not what was spooled; one that cannot be read now may still be."""
    try:
        return not all([await file.is_whole() for file in row.files])
    except OSError:
        return False


def _is_stored(result: ItemResult) -> bool:
    return result.status is ItemStatus.STORED


def _is_failure(result: ItemResult) -> bool:
    """Whether it is the result of a submission that one of the sides does not understand."""
    return result.status is ItemStatus.REJECTED and result.problem == Problem.INTERNAL.slug
