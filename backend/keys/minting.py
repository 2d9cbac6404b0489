"""How many keys an account may have, and how fast it may get them.

Both are counted from rows, inside the transaction that adds one and holds the configuration
counter: they hold over any number of processes.
"""

from math import ceil

from backend.access import Principal
from backend.accounts.store import plan_of
from backend.db import Connection
from backend.keys.store import KeyRow, active_keys, minted_since
from backend.keys.terms import rights_of
from backend.plans.catalogue import Plan, Plans
from contracts.keys import KeyKind
from contracts.problems import Problem, Rejected

HOUR_MS = 3600 * 1000
MANAGING = "keys:manage"


class MintingRules:
    """The rules of new keys."""

    def __init__(self, plans: Plans, per_hour: int) -> None:
        self._plans = plans
        self._per_hour = per_hour

    async def plan(self, connection: Connection, account_id: str) -> Plan:
        """The account's plan."""
        return self._plans.get(await plan_of(connection, account_id))

    async def check_pace(self, connection: Connection, account_id: str, now_ms: int) -> None:
        """Whether the account may get one more key now; the one that came with it does not count.

        Raises:
            Rejected: RATE_LIMITED.
        """
        minted = await minted_since(connection, account_id, now_ms - HOUR_MS, self._per_hour)
        if len(minted) < self._per_hour:
            return
        seconds = max(1, ceil((minted[-1] + HOUR_MS - now_ms) / 1000)) if minted else 3600
        raise Rejected(
            Problem.RATE_LIMITED,
            f"An account may create or rotate {self._per_hour} API keys an hour. "
            f"Try again in {seconds} s.",
            headers={"Retry-After": str(seconds)},
            retry_after=seconds,
        )

    async def check_room(
        self, connection: Connection, principal: Principal, key: KeyRow, now_ms: int
    ) -> None:
        """Whether the account's plan has room for one more active key.

        Whoever runs this server may always add a management key to an account that nobody could
        manage otherwise.

        Raises:
            Rejected: CONFLICT.
        """
        plan = await self.plan(connection, principal.account_id)
        if plan.keys is None:
            return
        active = await active_keys(connection, principal.account_id, now_ms)
        if len(active) < plan.keys or _is_rescue(principal, key, active):
            return
        raise Rejected(
            Problem.CONFLICT,
            f"The account's plan allows {plan.keys} active API keys and it has {len(active)}. "
            "Revoke one, or change the plan.",
            limit=plan.keys,
            used=len(active),
        )


def _is_rescue(principal: Principal, key: KeyRow, active: list[KeyRow]) -> bool:
    is_manageable = any(MANAGING in rights_of(other) for other in active)
    is_operator = principal.actor.kind == "operator"
    return is_operator and key.kind == KeyKind.MANAGEMENT.value and not is_manageable
