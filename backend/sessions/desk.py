"""Takes requests for links to sign in with, and answers all of them alike.

Whether an address is a member's must not be told: not by the answer, and not by how long it takes.
So the answer is given first, from memory alone, and the link is made behind it. What was asked for
and is not made yet is lost if the process is killed: whoever waits for the mail asks again.
"""

import asyncio
import hashlib
from collections import deque

from backend.answers import too_many
from backend.caller import Caller
from backend.sealing import Sealer
from backend.sessions.sign_in import SignIn
from contracts.problems import Problem, Rejected
from contracts.runtime.ratelimit import RateLimiter, Rule, visitor_rules
from contracts.runtime.telemetry import get_logger

PER_ADDRESS = 5
"""Links an hour to one e-mail address."""
PER_CLIENT = 20
"""Links an hour that one client asks for."""
WAITING_MAX = 1_000
_HOUR = 3600
_PAUSE_SECONDS = 5.0
_log = get_logger("backend")


class SignInDesk:
    """``ask`` for a link; ``run`` makes them for as long as it is not cancelled, and
    ``flush_quietly`` at the end the rest."""

    def __init__(self, sign_in: SignIn, limiter: RateLimiter, sealer: Sealer) -> None:
        self._sign_in = sign_in
        self._limiter = limiter
        self._sealer = sealer
        self._waiting: deque[tuple[str, Caller]] = deque()
        self._asked = asyncio.Event()

    async def ask(self, email: str, caller: Caller) -> None:
        """Has a link mailed to an address, in lower case, if somebody may sign in with it.

        Raises:
            Rejected: RATE_LIMITED; UNAVAILABLE if too many wait, or the server cannot seal mails.
        """
        if not self._sealer.has_key:
            raise Rejected(
                Problem.UNAVAILABLE,
                "The server mails no links until its operator sets FORMFLOW_SECRET_KEY. On its "
                "machine, formflow sign-in prints one.",
            )
        await self._admit(email, caller)
        if len(self._waiting) >= WAITING_MAX:
            raise Rejected(
                Problem.UNAVAILABLE,
                "Too many links are being made. Try again in a moment.",
                headers={"Retry-After": "2"},
            )
        self._waiting.append((email, caller))
        self._asked.set()

    async def run(self) -> None:
        """Makes links as they are asked for; what goes wrong is logged, and tried again if the
        database was away."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            await self.flush_quietly()
            if self._waiting:
                await asyncio.sleep(_PAUSE_SECONDS)
                self._asked.set()

    async def flush_quietly(self) -> None:
        """Flushes; what goes wrong is logged."""
        try:
            await self.flush()
        except Exception as error:
            # What a driver says may quote the address.
            reason = str(error) if isinstance(error, Rejected) else type(error).__name__
            _log.error("a link to sign in was not made", error=reason)

    async def flush(self) -> None:
        """Makes the links that were asked for. Raises Rejected(UNAVAILABLE): the rest waits."""
        while self._waiting:
            email, caller = self._waiting.popleft()
            try:
                await self._sign_in.send_link(email, caller)
            except Rejected:
                self._waiting.appendleft((email, caller))
                raise

    async def _admit(self, email: str, caller: Caller) -> None:
        # Not the address itself: the windows may be kept by another server.
        digest = hashlib.sha256(email.encode()).hexdigest()
        rules = (
            *visitor_rules("sign-in:client", caller.address or "", PER_CLIENT, _HOUR),
            Rule(f"sign-in:address/{digest}", PER_ADDRESS, _HOUR),
        )
        decision = await self._limiter.admit(rules)
        if not decision.is_admitted:
            raise too_many("links to sign in", decision.retry_after_seconds)
