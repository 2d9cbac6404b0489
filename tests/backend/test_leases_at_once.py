"""Grants, charges, statements and sessions that meet each other, on both databases."""

import asyncio

import pytest

from backend.management import Services
from contracts.submissions import ItemStatus
from tests.backend.test_leases import (
    LIMIT,
    Holder,
    counts,
    holder_of,
    limited_form,
    statuses,
)

STORED = ItemStatus.STORED

pytestmark = pytest.mark.asyncio


async def test_grants_charges_and_statements_at_once_never_exceed_the_quota(
    services: Services,
) -> None:
    form = await limited_form(services)
    holders = [await holder_of(services, f"gateway-{n}") for n in range(4)]

    async def work(holder: Holder) -> int:
        stored = 0
        for _ in range(6):
            answer = await holder.post(form, 3)
            stored += statuses(answer.results).count(STORED)
            for lease in answer.leases:
                taken = min(2, lease.granted)
                await holder.state(ended={lease.id: taken})
                stored += statuses(await holder.drain(form, lease, taken)).count(STORED)
        return stored

    stored = sum(await asyncio.gather(*(work(holder) for holder in holders)))
    [(_, used, reserved)] = await counts(services)
    assert used == stored
    assert used + reserved <= LIMIT


async def test_sessions_that_begin_while_leases_are_granted_end_them_all(
    services: Services,
) -> None:
    form = await limited_form(services)
    holder = await holder_of(services)
    after: str | None = "s1"
    for round_ in range(5):
        again = Holder(services, session=f"again-{round_}")
        _, session = await asyncio.gather(holder.post(form), again.enter(after=after))
        assert session == again.asker.session
        after, holder = session, again
    await Holder(services, session="last").enter(after=after)
    [(_, _, reserved)] = await counts(services)
    assert reserved == 0
