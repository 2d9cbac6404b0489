"""What the sweeper removes from the database: idempotency keys whose day is over."""

from collections.abc import Sequence

import pytest
from sqlalchemy import select

from backend.forms.store import FormRow
from backend.internal.idempotency import FormKey
from backend.management import Services
from backend.sweeper import Sweeper
from backend.tables import idempotency_keys
from contracts.ids import new_id
from contracts.internal import BATCH_ITEMS_MAX
from contracts.submissions import ItemStatus, Submission
from tests.backend.builders import Account, add_form
from tests.support.builders import NOW_MS, submission
from tests.support.clock import ManualClock

DAY = 24 * 3600
# More than two transactions of the sweeper remove.
KEYS = 2_500

pytestmark = pytest.mark.asyncio


def keyed(form: FormRow, keys: Sequence[str]) -> list[Submission]:
    return [
        submission(id=new_id("sub", NOW_MS), form_id=form.id, idempotency_key=key, fingerprint="a")
        for key in keys
    ]


async def kept(services: Services) -> set[FormKey]:
    async with services.database.read() as connection:
        query = select(idempotency_keys.c.form_id, idempotency_keys.c.key)
        return {(row.form_id, row.key) for row in await connection.execute(query)}


async def test_keys_are_removed_when_their_day_is_over_and_younger_ones_kept(
    services: Services, account: Account, clock: ManualClock
) -> None:
    form = await add_form(services, account)
    sweeper = Sweeper(services.database, services.files, clock)
    old = [f"old-{number}" for number in range(KEYS)]
    for start in range(0, KEYS, BATCH_ITEMS_MAX):
        await services.intake.commit(keyed(form, old[start : start + BATCH_ITEMS_MAX]))
    clock.advance(1)
    await services.intake.commit(keyed(form, ["young"]))
    clock.advance(DAY - 1)
    await sweeper.sweep_keys()
    assert len(await kept(services)) == KEYS + 1
    clock.advance(0.001)
    assert await sweeper.sweep_keys() == KEYS
    assert await kept(services) == {(form.id, "young")}
    clock.advance(1)
    await sweeper.sweep()
    assert await kept(services) == set()


async def test_what_is_refused_leaves_no_key(services: Services, account: Account) -> None:
    paused = await add_form(services, account, status="paused")
    live = await add_form(services, account)
    refused, stored = await services.intake.commit(
        [*keyed(paused, ["order-1"]), *keyed(live, ["order-1"])]
    )
    assert (refused.status, stored.status) == (ItemStatus.REJECTED, ItemStatus.STORED)
    assert await kept(services) == {(live.id, "order-1")}
