"""Removes submissions that are older than their form, or its account's plan, keeps them.

Once a day, by the wall clock: a submission goes when the time of its receipt, which its id begins
with, is further back than so many days. A clock that steps back lets everything stay for longer.
"""

from backend.audit.record import SYSTEM, record_by
from backend.db import Database
from backend.plans.catalogue import Plans
from backend.removal import store
from backend.removal.service import BATCH, Removal
from backend.removal.store import KeepingForm
from contracts.ids import first_id
from contracts.runtime.clock import Clock, iso

DAY_MS = 24 * 3600 * 1000


class Retention:
    """The daily job."""

    def __init__(self, database: Database, clock: Clock, plans: Plans, removal: Removal) -> None:
        self._database = database
        self._clock = clock
        self._plans = plans
        self._removal = removal
        self._is_any_plan_capped = any(plan.retention_days for _, plan in plans.items())

    async def sweep(self) -> None:
        """Runs if the last whole run is a day back, or ahead of a clock that was set back. A run
        that is interrupted is not whole. Raises Rejected(UNAVAILABLE)."""
        async with self._database.read() as connection:
            ran_at = await store.retention_ran_at(connection)
        now_ms = self._clock.now_ms()
        if ran_at is not None and 0 <= now_ms - ran_at < DAY_MS:
            return
        async with self._database.read() as connection:
            forms = await store.keeping_forms(connection, of_all=self._is_any_plan_capped)
        for form in forms:
            days = self._days(form)
            if days is not None:
                await self._remove_expired(form, now_ms - days * DAY_MS, now_ms)
        async with self._database.write() as connection:
            await store.stamp_retention(connection, now_ms)

    async def _remove_expired(self, form: KeepingForm, before_ms: int, now_ms: int) -> None:
        before = first_id("sub", before_ms)
        async with self._database.read() as connection:
            count = await store.count_submissions(connection, form.id, before)
        if not count:
            return
        async with self._database.write() as connection:
            removed = await store.remove_submissions(connection, form.id, before, BATCH)
            # With the first of them: none is ever removed without the event that says so.
            await record_by(
                connection,
                SYSTEM,
                form.account_id,
                "form.expired_submissions_removed",
                form.id,
                now_ms,
                count=count,
                before=iso(before_ms),
            )
        await self._removal.remove_files(removed)
        await self._removal.remove_submissions(form.id, before)

    def _days(self, form: KeepingForm) -> int | None:
        limits = (form.days, self._plans.get(form.plan).retention_days)
        return min((days for days in limits if days is not None), default=None)
