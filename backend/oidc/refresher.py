"""Asks the provider from time to time whether sessions may go on.

There are three answers. It gives new tokens: the session goes on. It refuses the refresh token
(``invalid_grant``): the session at the provider has ended, and the one that began with it, too.
Anything else, such as an outage, says nothing: they go on, and the provider is asked again.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from backend.db import Database
from backend.oidc import store
from backend.oidc.alignment import end_with_provider
from backend.oidc.errors import ProviderUnreachable
from backend.oidc.provider import Provider
from backend.oidc.sign_in import REFRESH_MS
from backend.oidc.store import TieRow
from backend.sealing import NoSecretKey, Sealer
from backend.sessions.use import IDLE_MS
from contracts.runtime.clock import Clock
from contracts.runtime.telemetry import get_logger

INTERVAL_SECONDS = 10.0
AT_ONCE = 10
"""Refresh tokens that are under way at the same time."""
# The use of sessions is written once a minute; a tie that is gone cannot end its session.
_IDLE_MS = 2 * IDLE_MS
_REMOVED_AT_ONCE = 1_000
_log = get_logger("backend")


@dataclass(slots=True)
class Outcome:
    """What became of some refresh tokens: new ones, sealed, by the ids of their sessions; those
    that were refused; and of the rest why nothing is known."""

    renewed: list[tuple[str, str]] = field(default_factory=list)
    refused: list[TieRow] = field(default_factory=list)
    unclear: list[str] = field(default_factory=list)


class Refresher:
    """``run`` refreshes what is due, for as long as it is not cancelled; ``finish`` waits for the
    refresh tokens that are under way: providers replace them, and the old ones are good no more."""

    def __init__(
        self, provider: Provider, database: Database, sealer: Sealer, clock: Clock
    ) -> None:
        self._provider = provider
        self._database = database
        self._sealer = sealer
        self._clock = clock
        self._under_way: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Refreshes every few seconds; what goes wrong is logged and tried again."""
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            self._under_way = asyncio.create_task(self._refresh_quietly())
            await asyncio.shield(self._under_way)

    async def finish(self) -> None:
        """Waits for what is under way."""
        if self._under_way is not None:
            await self._under_way

    async def refresh(self) -> Outcome:
        """Refreshes once, ``AT_ONCE`` sessions at most, and ends those that are refused. Raises
        Rejected(UNAVAILABLE)."""
        now_ms = self._clock.now_ms()
        async with self._database.write() as connection:
            ties = await store.claim_due(connection, now_ms, now_ms + REFRESH_MS, AT_ONCE)
        outcome = Outcome()
        if not ties:
            return outcome
        await asyncio.gather(*(self._ask(tie, outcome) for tie in ties))
        async with self._database.write() as connection:
            await store.keep_refresh_tokens(connection, outcome.renewed)
            refused = [tie.session_id for tie in outcome.refused]
            now_ms = self._clock.now_ms()
            await end_with_provider(connection, refused, "refused by the identity provider", now_ms)
        return outcome

    async def sweep(self) -> None:
        """Removes what belongs to sessions that are over, refresh tokens above all, and what was
        good once; some per transaction. Raises Rejected(UNAVAILABLE)."""
        count = _REMOVED_AT_ONCE
        while count == _REMOVED_AT_ONCE:
            now_ms = self._clock.now_ms()
            async with self._database.write() as connection:
                count = await store.remove_past(
                    connection, now_ms, now_ms - _IDLE_MS, _REMOVED_AT_ONCE
                )

    async def _refresh_quietly(self) -> None:
        try:
            is_full = True
            while is_full:
                outcome = await self.refresh()
                is_full = len(outcome.renewed) + len(outcome.refused) == AT_ONCE
                _report(outcome.unclear)
        except Exception as error:
            _log.error("sessions were not refreshed at the provider", error=str(error))

    async def _ask(self, tie: TieRow, outcome: Outcome) -> None:
        """Refreshes one and notes what becomes of it."""
        try:
            reply = await self._provider.refresh(self._sealer.unseal(tie.refresh_token or ""))
        except ProviderUnreachable as error:
            outcome.unclear.append(str(error))
            return
        except NoSecretKey:
            outcome.unclear.append("its refresh token is sealed with another FORMFLOW_SECRET_KEY")
            return
        if reply.is_refusal:
            outcome.refused.append(tie)
        elif reply.status == 200 and "access_token" in reply.document:
            token = reply.document.get("refresh_token")
            sealed = self._sealer.seal(token) if isinstance(token, str) else tie.refresh_token
            outcome.renewed.append((tie.session_id, sealed or ""))
        else:
            outcome.unclear.append(f"the token endpoint answered {reply.summary}")


def _report(unclear: Sequence[str]) -> None:
    if unclear:
        _log.warning(
            "the identity provider said nothing about some sessions: they go on",
            count=len(unclear),
            reason=unclear[0],
        )
