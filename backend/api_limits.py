"""How often the management API may be called.

A key has its own windows, as a member has for all of their sessions, and an account has one more
for all of its credentials, so that many keys are not a way around it. Calls without a good
credential count for the client's address.
"""

from starlette.requests import Request

from backend.access import Principal
from backend.accounts.store import plan_of
from backend.answers import RATE_DECISION
from backend.db import Database
from backend.plans.catalogue import Plans
from contracts.problems import Problem, Rejected
from contracts.runtime.ratelimit import RateLimiter, Rule, key_rules, visitor_rules

BURST = 50
"""Calls of one credential in any second, unless it has a figure of its own."""
ACCOUNT_FACTOR = 5
"""How many times the plan's figure for one credential all of an account have together."""
_MINUTE = 60


class ApiLimits:
    """Admits calls, and notes what each answer is to say of its limit."""

    def __init__(
        self, limiter: RateLimiter, database: Database, plans: Plans, anonymous_per_minute: int
    ) -> None:
        self._limiter = limiter
        self._database = database
        self._plans = plans
        self._anonymous_per_minute = anonymous_per_minute

    async def admit(self, request: Request, principal: Principal) -> None:
        """Charges a call of ``principal``; the local operator's are free.

        Raises:
            Rejected: RATE_LIMITED, UNAVAILABLE.
        """
        actor = principal.actor
        if actor.kind == "operator":
            return
        async with self._database.read() as connection:
            plan = self._plans.get(await plan_of(connection, principal.account_id))
        most = plan.requests_per_minute
        per_minute = min(principal.requests_per_minute or most, most)
        account = f"api:{principal.account_id}"
        rules = (
            *key_rules(f"{account}/{actor.id}", per_minute, principal.burst or BURST),
            Rule(account, ACCOUNT_FACTOR * most, _MINUTE),
        )
        await self._charge(request, rules)

    async def admit_anonymous(self, request: Request, address: str | None) -> None:
        """Charges a call that comes with no good credential. Raises Rejected: RATE_LIMITED."""
        await self._charge(
            request, visitor_rules("api:anonymous", address or "", self._anonymous_per_minute)
        )

    async def close(self) -> None:
        """Lets go of connections."""
        await self._limiter.close()

    async def _charge(self, request: Request, rules: tuple[Rule, ...]) -> None:
        decision = await self._limiter.admit(rules)
        request.scope[RATE_DECISION] = decision
        if not decision.is_admitted:
            seconds = decision.retry_after_seconds
            raise Rejected(
                Problem.RATE_LIMITED,
                f"Too many requests: at most {decision.limit} in {decision.window_seconds} s. "
                f"Try again in {seconds} s.",
                headers={"Retry-After": str(seconds)},
                retry_after=seconds,
            )
