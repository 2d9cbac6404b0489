"""Usage as the API shows it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from backend.access import EVERYTHING, Principal
from backend.accounts.store import plan_of
from backend.answers import missing
from backend.db import Database
from backend.plans.catalogue import Plan, Plans
from backend.usage import store
from backend.usage.months import end_of_month, month_of
from backend.usage.reports import API_CALLS
from backend.usage.store import FormDay, FormSpan
from contracts.ids import is_id
from contracts.outcomes import Outcome
from contracts.runtime.clock import Clock
from contracts.usage import Count, day_of


@dataclass(frozen=True, slots=True)
class AccountCounts:
    """What is counted per account, because it left no submission: ``rejected`` by reason."""

    replays: int
    rejected: dict[str, int]
    api_calls: int


@dataclass(frozen=True, slots=True)
class DayUsage:
    """One day; ``account`` is None for a caller, or a question, that is about some forms only."""

    day: str
    stored: FormDay
    account: AccountCounts | None


@dataclass(frozen=True, slots=True)
class MonthUsage:
    """The current month; ``used`` units of the plan's quota. ``account`` is None for a caller that
    reaches some of the account's forms only: all figures are then of these forms."""

    month: str
    resets_at: int
    plan_name: str
    plan: Plan
    used: int
    stored: FormDay
    account: AccountCounts | None


class UsageService:
    """Reads what was counted.

    A credential that does not reach all of an account's forms learns nothing of the others: what
    is counted per form it sees for the forms that it reaches, what is counted per account not.
    """

    def __init__(self, database: Database, plans: Plans, clock: Clock) -> None:
        self._database = database
        self._plans = plans
        self._clock = clock

    def today(self) -> date:
        """The current day in UTC."""
        return date.fromisoformat(day_of(self._clock.now_ms()))

    async def this_month(self, principal: Principal) -> MonthUsage:
        """The month in UTC that is under way."""
        now_ms, account_id = self._clock.now_ms(), principal.account_id
        month = month_of(now_ms)
        days = (f"{month}-01", f"{month}-31")
        async with self._database.read() as connection:
            plan_name = await plan_of(connection, account_id)
            stored = await store.stored_in(connection, account_id, principal.reach, *days)
            used, account = stored.submissions, None
            if principal.reach == EVERYTHING:
                used = await store.month_submissions(connection, account_id, month)
                account = _account(await store.counts_by_day(connection, account_id, *days))
        return MonthUsage(
            month=month,
            resets_at=end_of_month(now_ms),
            plan_name=plan_name,
            plan=self._plans.get(plan_name),
            used=used,
            stored=stored,
            account=account,
        )

    async def days(
        self, principal: Principal, first: date, last: date, form_id: str | None
    ) -> list[DayUsage]:
        """Every day from ``first`` to ``last``, newest first. Raises Rejected(NOT_FOUND) for a form
        that the caller does not see."""
        if form_id is not None and not is_id(form_id, "frm"):
            raise missing("form")
        account_id, between = principal.account_id, (first.isoformat(), last.isoformat())
        is_whole = form_id is None and principal.reach == EVERYTHING
        async with self._database.read() as connection:
            if form_id is not None and not await store.is_form_within(
                connection, account_id, principal.reach, form_id
            ):
                raise missing("form")
            stored = await store.stored_by_day(
                connection, account_id, principal.reach, *between, form_id
            )
            counts = await store.counts_by_day(connection, account_id, *between) if is_whole else []
        by_day: dict[str, list[Count]] = {}
        for count in counts:
            by_day.setdefault(count.day, []).append(count)
        return [
            DayUsage(
                day,
                stored.get(day, FormDay()),
                _account(by_day.get(day, [])) if is_whole else None,
            )
            for day in _days(first, last)
        ]

    async def of_forms(
        self, principal: Principal, form_ids: Collection[str], first: date, last: date
    ) -> Mapping[str, FormSpan]:
        """What was stored for each of these forms, which the caller knows to be the principal's,
        from ``first`` to ``last``; forms without anything are left out."""
        between = (first.isoformat(), last.isoformat())
        async with self._database.read() as connection:
            return await store.stored_by_form(connection, principal.account_id, form_ids, *between)


def _days(first: date, last: date) -> list[str]:
    return [(last - timedelta(days=back)).isoformat() for back in range((last - first).days + 1)]


def _account(counts: list[Count]) -> AccountCounts:
    totals: dict[str, int] = {}
    for count in counts:
        totals[count.name] = totals.get(count.name, 0) + count.count
    replays = totals.pop(Outcome.REPLAYED.value, 0)
    api_calls = totals.pop(API_CALLS, 0)
    return AccountCounts(replays, dict(sorted(totals.items())), api_calls)
