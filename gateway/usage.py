"""Tells the backend what became of posts that left no submission: replays and refusals.

Counted per account, which is known once the form is: a post to no form of anybody's is not. What
is counted is told every few seconds and at the end. A report that was not acknowledged is sent
again as it was, so that the backend counts it once; what happens meanwhile is in the next one. If
the process is killed, the counts of the last seconds are lost.
"""

import asyncio
import random
import secrets
from collections.abc import Awaitable, Callable

from contracts.outcomes import Outcome
from contracts.problems import Rejected
from contracts.runtime.telemetry import get_logger
from contracts.usage import UsageCounts, UsageReport
from gateway.upstream import UpstreamLacks, UpstreamUnavailable

INTERVAL_SECONDS = 5.0
# An earlier version of the backend does not take reports; it may be replaced while this runs.
_LACKING_SECONDS = 60.0
_FINISH_SECONDS = 2.0
# The commit counts what it stores; who left before the end was neither served nor refused.
_COUNTED_ELSEWHERE = frozenset(
    {Outcome.STORED, Outcome.SPAM, Outcome.HELD, Outcome.QUEUED, Outcome.DISCONNECTED}
)


class UsageReporter:
    """``count`` what became of posts; ``run`` reports it."""

    def __init__(self, send: Callable[[UsageReport], Awaitable[None]]) -> None:
        """``send`` returns when the backend has counted the report."""
        self._send = send
        self._counts = UsageCounts(f"gw_{secrets.token_hex(8)}")
        self._is_lacking = False
        self._log = get_logger("gateway")

    def count(self, account_id: str, received_at: int, outcome: Outcome) -> None:
        """Counts one post of that time, in Unix milliseconds, if it left no submission."""
        if outcome not in _COUNTED_ELSEWHERE:
            self._counts.add(account_id, received_at, outcome.value)

    async def run(self) -> None:
        """Reports until cancelled."""
        while True:
            seconds = _LACKING_SECONDS if self._is_lacking else INTERVAL_SECONDS
            await asyncio.sleep(seconds * random.uniform(0.8, 1.2))  # noqa: S311 -- jitter
            await self._report()

    async def finish(self) -> None:
        """Reports the rest, after ``run`` was cancelled; within seconds, or not at all."""
        try:
            async with asyncio.timeout(_FINISH_SECONDS):
                await self._report()
        except TimeoutError:
            self._log.warning("usage not reported", error="the backend is too slow")

    async def _report(self) -> None:
        try:
            while (report := self._counts.report()) is not None:
                await self._send(report)
                self._counts.acknowledge()
                self._is_lacking = False
        except UpstreamLacks:
            if not self._is_lacking:
                self._log.info("this backend takes no reports of usage: it is of an older version")
            self._is_lacking = True
        except (UpstreamUnavailable, Rejected) as error:
            self._log.debug("usage not reported yet", error=str(error))
