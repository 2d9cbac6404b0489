"""Counts of what left no submission: reported by gateways, and gathered here of the API's calls.

Guarantee: a report is counted once, whatever is sent again: the number of a session's last report
and its counts are written in one transaction.
"""

import asyncio
import secrets
from functools import partial

from backend.db import Database
from backend.transaction import Transaction
from backend.usage.store import add_counts, claim_report, delete_reports
from contracts.runtime.clock import Clock
from contracts.runtime.telemetry import get_logger
from contracts.usage import UsageCounts, UsageReport

API_CALLS = "api-calls"
"""The name of the count of API calls; every other name is an outcome's label."""
INTERVAL_SECONDS = 5.0
_ENDED_MS = 60 * 24 * 3600 * 1000
_log = get_logger("backend")


class ReportDesk:
    """Takes reports."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def take(self, report: UsageReport) -> None:
        """Counts a report, unless it was counted before. Raises Rejected(UNAVAILABLE)."""
        await self._database.transact(partial(self._count, report))

    async def forget_ended(self) -> None:
        """Forgets sessions that have not reported for so long that they surely have ended. Raises
        Rejected(UNAVAILABLE)."""
        async with self._database.write() as connection:
            await delete_reports(connection, self._clock.now_ms() - _ENDED_MS)

    def _count(self, report: UsageReport, transaction: Transaction) -> None:
        now_ms = self._clock.now_ms()
        if claim_report(transaction, report.session, report.sequence, now_ms):
            add_counts(transaction, report.counts)


class ApiCalls:
    """Calls of the management API, by account: ``count`` them; ``run`` writes them down for as long
    as it is not cancelled, and ``flush_quietly`` the rest. Those since the last flush are lost if
    the process is killed."""

    def __init__(self, desk: ReportDesk, clock: Clock) -> None:
        self._desk = desk
        self._clock = clock
        self._counts = UsageCounts(f"api_{secrets.token_hex(8)}")

    def count(self, account_id: str) -> None:
        """Counts one call, without I/O."""
        self._counts.add(account_id, self._clock.now_ms(), API_CALLS)

    async def run(self) -> None:
        """Flushes every few seconds; what goes wrong is logged and tried again."""
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            await self.flush_quietly()

    async def flush_quietly(self) -> None:
        """Flushes; what goes wrong is logged."""
        try:
            await self.flush()
        except Exception as error:
            _log.error("API calls were not counted", error=str(error))

    async def flush(self) -> None:
        """Writes what was counted; what cannot be written is kept. Raises Rejected(UNAVAILABLE)."""
        while (report := self._counts.report()) is not None:
            await self._desk.take(report)
            self._counts.acknowledge()
