"""The account as its members see it."""

from dataclasses import dataclass

from backend.access import EVERYTHING, RIGHTS, Principal
from backend.accounts import store
from backend.answers import invalid, missing
from backend.audit.record import record
from backend.changes import ChangeFeed, bump_revision
from backend.db import Connection, Database
from backend.plans.catalogue import Plan, Plans
from contracts.problems import Problem, Rejected
from contracts.runtime.clock import Clock


@dataclass(frozen=True, slots=True)
class Account:
    """An account; ``plan`` is what ``plan_name`` allows, ``owners`` are addresses.
    ``may_change_plan`` is about who asks."""

    id: str
    name: str
    plan_name: str
    plan: Plan
    owners: list[str]
    created_at: int
    may_change_plan: bool


class AccountService:
    """Reads and changes an account.

    The plan is changed by the operator of this server only: the command line on its machine, or a
    credential with every right, and without a restriction, of the first account.
    """

    def __init__(self, database: Database, feed: ChangeFeed, plans: Plans, clock: Clock) -> None:
        self._database = database
        self._feed = feed
        self._plans = plans
        self._clock = clock

    async def get(self, principal: Principal) -> Account:
        """The caller's account."""
        async with self._database.read() as connection:
            return await self._read(connection, principal)

    async def change(self, principal: Principal, name: str | None, plan: str | None) -> Account:
        """Changes what is not None; every gateway knows of a new plan within a second.

        Raises Rejected: INSUFFICIENT_SCOPE, VALIDATION_ERROR for a plan that does not exist.
        """
        account_id = principal.account_id
        async with self._database.write() as connection:
            # First of all, so that the forms' new revision becomes visible in order.
            revision = None if plan is None else await bump_revision(connection)
            if plan is not None:
                await self._check_plan(connection, principal, plan)
            changes = {"name": name, "plan": plan}
            values = {member: value for member, value in changes.items() if value is not None}
            if values:
                await store.update_account(connection, account_id, values)
                now_ms = self._clock.now_ms()
                await record(connection, principal, "account.changed", account_id, now_ms, **values)
            if revision is not None:
                await store.stamp(connection, account_id, revision)
            account = await self._read(connection, principal)
        if revision is not None:
            self._feed.announce()
        return account

    async def _check_plan(self, connection: Connection, principal: Principal, plan: str) -> None:
        if not await _is_operator(connection, principal):
            raise Rejected(
                Problem.INSUFFICIENT_SCOPE,
                "Only the operator of this server changes an account's plan.",
            )
        if plan not in self._plans:
            raise invalid("plan", "unknown_plan", "There is no such plan: see /v1/plans.")

    async def _read(self, connection: Connection, principal: Principal) -> Account:
        row = await store.find_account(connection, principal.account_id)
        if row is None:
            raise missing("account")
        return Account(
            id=row.id,
            name=row.name,
            plan_name=row.plan,
            plan=self._plans.get(row.plan),
            owners=await store.owner_emails(connection, principal.account_id),
            created_at=row.created_at,
            may_change_plan=await _is_operator(connection, principal),
        )


async def _is_operator(connection: Connection, principal: Principal) -> bool:
    """Whether it is the operator of this server who asks."""
    return (
        principal.rights >= RIGHTS
        and principal.reach == EVERYTHING
        and principal.account_id == await store.first_account_id(connection)
    )
