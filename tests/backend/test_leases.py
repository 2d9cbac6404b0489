"""Leases on both databases: what is granted, charged, ended and recalled."""

import asyncio
from collections.abc import Sequence

import pytest
from sqlalchemy import select

from backend.forms.store import FormRow
from backend.internal.lease_store import delete_past
from backend.management import Services
from backend.tables import leases, usage_months
from contracts.ids import new_id
from contracts.internal import Batch, BatchAnswer
from contracts.leases import Lease, LeaseAsker, LeaseStatement
from contracts.submissions import ItemResult, ItemStatus, Submission
from tests.backend.builders import add_account, add_form
from tests.support.builders import NOW_MS, submission
from tests.support.clock import ManualClock

STORED, REPLAYED, REJECTED = ItemStatus.STORED, ItemStatus.REPLAYED, ItemStatus.REJECTED
LIMIT = 100

pytestmark = pytest.mark.asyncio


class Holder:
    """A gateway with a spool, as the backend sees one."""

    def __init__(self, services: Services, name: str = "gateway-1", session: str = "s1") -> None:
        self.services = services
        self.asker = LeaseAsker(name, session)

    async def enter(self, after: str | None = None, **spooled: int) -> str:
        """Begins the session."""
        return await self.state(after, spooled)

    async def state(self, after: str | None = None, ended: dict[str, int] | None = None) -> str:
        statement = LeaseStatement(self.asker.holder, self.asker.session, after, ended or {})
        return await self.services.intake.leases.state(statement)

    async def send(self, *items: Submission) -> BatchAnswer:
        return await self.services.intake.answer(Batch(list(items), self.asker))

    async def post(self, form: FormRow, count: int = 1) -> BatchAnswer:
        return await self.send(*posts(form, count))

    async def granted(self, form: FormRow) -> Lease:
        """The lease that comes with a post."""
        [lease] = (await self.post(form)).leases
        return lease

    async def drain(self, form: FormRow, lease: Lease, count: int = 1) -> Sequence[ItemResult]:
        items = [
            submission(
                id=new_id("sub", NOW_MS), form_id=form.id, is_promised=True, lease_id=lease.id
            )
            for _ in range(count)
        ]
        return (await self.send(*items)).results


def posts(form: FormRow, count: int) -> list[Submission]:
    return [submission(id=new_id("sub", NOW_MS), form_id=form.id) for _ in range(count)]


async def holder_of(services: Services, name: str = "gateway-1") -> Holder:
    holder = Holder(services, name)
    assert await holder.enter() == "s1"
    return holder


async def limited_form(services: Services) -> FormRow:
    return await add_form(services, await add_account(services, plan="free"))


async def counts(services: Services) -> list[tuple[str, int, int]]:
    """Of each month the units used and on lease, which the leases must agree with."""
    async with services.database.read() as connection:
        months = (
            await connection.execute(select(usage_months).order_by(usage_months.c.month))
        ).all()
        rows = (await connection.execute(select(leases))).all()
    for month in months:
        of_month = [row for row in rows if row.month == month.month]
        assert month.reserved == sum(row.granted - row.settled for row in of_month)
    return [(month.month, month.submissions, month.reserved) for month in months]


def statuses(results: Sequence[ItemResult]) -> list[ItemStatus]:
    return [result.status for result in results]


async def test_half_of_what_is_free_is_granted_to_the_only_holder_and_told_again(
    services: Services,
) -> None:
    holder, form = await holder_of(services), await limited_form(services)
    first = await holder.granted(form)
    assert (first.granted, first.account_id) == (49, form.account_id)
    assert await holder.granted(form) == first
    assert await counts(services) == [("2026-05", 2, 49)]


async def test_holders_share_what_is_free(services: Services) -> None:
    form = await limited_form(services)
    holders = [await holder_of(services, f"gateway-{n}") for n in range(4)]
    granted = [(await holder.granted(form)).granted for holder in holders]
    assert granted == [99 // 8, 86 // 8, 75 // 8, 65 // 8]


async def test_without_asking_or_without_a_limit_nothing_is_granted(services: Services) -> None:
    holder, form = await holder_of(services), await limited_form(services)
    open_form = await add_form(services, await add_account(services))
    assert (await services.intake.answer(Batch(posts(form, 1)))).leases == []
    assert (await holder.post(open_form)).leases == []


async def test_with_little_free_nothing_is_granted_but_a_lease_is_told(services: Services) -> None:
    holder, form = await holder_of(services), await limited_form(services)
    other = await holder_of(services, "gateway-2")
    lease = await holder.granted(form)
    await services.intake.commit(posts(form, 100 - 1 - lease.granted - 19))
    assert (await other.post(form)).leases == []
    assert (await holder.post(form)).leases == [lease]


async def test_a_lease_is_topped_up_when_half_of_it_is_settled(services: Services) -> None:
    holder, form = await holder_of(services), await limited_form(services)
    lease = await holder.granted(form)
    await holder.drain(form, lease, 40)
    topped_up = await holder.granted(form)
    assert (topped_up.id, topped_up.granted > lease.granted) == (lease.id, True)
    assert await counts(services) == [("2026-05", 42, topped_up.granted - 40)]


async def test_a_spooled_submission_costs_its_lease_once_and_is_never_refused(
    services: Services,
) -> None:
    holder, form = await holder_of(services), await limited_form(services)
    lease = await holder.granted(form)
    await services.intake.commit(posts(form, 50))
    item = submission(form_id=form.id, is_promised=True, lease_id=lease.id)
    results = [(await holder.send(item)).results[0].status for _ in range(2)]
    assert results == [STORED, REPLAYED]
    assert await counts(services) == [("2026-05", 52, 48)]


async def test_an_ambiguous_send_that_was_stored_costs_no_lease(services: Services) -> None:
    holder, form = await holder_of(services), await limited_form(services)
    lease = await holder.granted(form)
    item = submission(form_id=form.id)
    await holder.send(item)
    item.is_promised, item.lease_id = True, lease.id
    assert statuses((await holder.send(item)).results) == [REPLAYED]
    assert await counts(services) == [("2026-05", 2, 49)]


async def test_a_post_of_last_month_costs_last_month(
    services: Services, clock: ManualClock
) -> None:
    holder, form = await holder_of(services), await limited_form(services)
    lease = await holder.granted(form)
    clock.advance((lease.ends_at - clock.now_ms()) / 1000)
    assert statuses(await holder.drain(form, lease)) == [STORED]
    assert [month[:2] for month in await counts(services)] == [("2026-05", 2), ("2026-06", 0)]


async def test_a_new_session_ends_the_leases_of_the_last_but_for_what_is_spooled(
    services: Services,
) -> None:
    holder, form = await holder_of(services), await limited_form(services)
    lease = await holder.granted(form)
    again = Holder(services, session="s2")
    assert await again.enter() == "s1"
    assert await again.enter(after="s1", **{lease.id: 3}) == "s2"
    assert await counts(services) == [("2026-05", 1, 3)]
    assert statuses(await again.drain(form, lease, 3)) == [STORED] * 3
    assert (await counts(services))[0][1] == 4


async def test_a_session_that_another_has_followed_is_granted_nothing_and_ends_nothing(
    services: Services,
) -> None:
    zombie, form = await holder_of(services), await limited_form(services)
    holder = Holder(services, session="s2")
    await holder.enter(after="s1")
    lease = await holder.granted(form)
    assert (await zombie.post(form)).leases == []
    assert await zombie.enter() == "s2"
    assert await holder.granted(form) == lease


async def test_statements_may_be_repeated_and_overtake_each_other(services: Services) -> None:
    holder, form = await holder_of(services), await limited_form(services)
    lease = await holder.granted(form)
    await holder.state(ended={lease.id: 3})
    await holder.drain(form, lease, 3)
    await holder.state(ended={lease.id: 0})
    for late in (3, 49):
        await holder.state(ended={lease.id: late})
    row = (await counts(services))[0]
    assert row == ("2026-05", 4, row[2])
    assert row[2] == (await holder.granted(form)).granted


async def test_what_is_on_lease_is_recalled_before_something_is_refused(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.internal.leases._RECALL_WAIT_MS", 20_000)
    holder, form = await holder_of(services), await limited_form(services)
    lease = await holder.granted(form)
    waiting = asyncio.create_task(services.intake.commit(posts(form, 99)))
    recalled = await _recalled(services)
    assert recalled == {lease.id: "gateway-1"}
    await holder.state(ended={lease.id: 0})
    async with asyncio.timeout(15.0):
        assert statuses(await waiting) == [STORED] * 99
    assert await counts(services) == [("2026-05", 100, 0)]


async def test_a_holder_that_does_not_answer_strands_its_units_and_is_asked_once_a_minute(
    services: Services, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.internal.leases._RECALL_WAIT_MS", 3_000)
    holder, form = await holder_of(services), await limited_form(services)
    lease = await holder.granted(form)
    results = await services.intake.commit(posts(form, 51))
    assert statuses(results) == [STORED] * 50 + [REJECTED]
    assert results[-1].quota is not None
    assert results[-1].quota.used < results[-1].quota.limit
    clock.advance(4)
    async with asyncio.timeout(2.5):
        assert statuses(await services.intake.commit(posts(form, 1))) == [REJECTED]
    clock.advance(60)
    again = asyncio.create_task(services.intake.commit(posts(form, 1)))
    await _recalled(services)
    await holder.state(ended={lease.id: 0})
    assert statuses(await again) == [STORED]


async def test_an_operator_writes_off_what_a_lost_gateway_holds(services: Services) -> None:
    holder, form = await holder_of(services), await limited_form(services)
    lease = await holder.granted(form)
    assert await services.intake.leases.write_off("gateway-1") == 49
    assert await counts(services) == [("2026-05", 1, 0)]
    await services.intake.commit(posts(form, 99))
    assert statuses(await holder.drain(form, lease)) == [STORED]
    assert await counts(services) == [("2026-05", 101, 0)]


async def test_only_leases_that_came_to_their_end_are_swept(
    services: Services, clock: ManualClock
) -> None:
    holder, form = await holder_of(services), await limited_form(services)
    await holder.state(ended={(await holder.granted(form)).id: 0})
    await holder.state(ended={(await holder.granted(form)).id: 1})
    open_lease = await holder.granted(form)
    clock.advance(1)
    counts_before = await counts(services)
    async with services.database.write() as connection:
        deleted = await delete_past(connection, clock.now_ms(), limit=100)
    assert (deleted, await counts(services)) == (1, counts_before)
    assert await holder.granted(form) == open_lease


async def _recalled(services: Services) -> dict[str, str]:
    """What the feed tells of recalls, as soon as it does."""
    async with asyncio.timeout(20):
        while True:
            async with services.database.read() as connection:
                rows = await connection.execute(
                    select(leases).where(
                        leases.c.ended_at.is_(None),
                        leases.c.recalled_at >= services.clock.now_ms() - 500,
                    )
                )
                recalled = {row.id: row.holder for row in rows}
            if recalled:
                return recalled
            await asyncio.sleep(0.01)
