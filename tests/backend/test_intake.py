"""The commit: idempotency keys and quotas, on both databases."""

import asyncio

import httpx
import pytest
from sqlalchemy import func, select

from backend.forms.store import FormRow
from backend.management import Services
from backend.tables import submissions, usage_months
from contracts.ids import new_id
from contracts.keys import KeyKind
from contracts.submissions import ItemResult, ItemStatus, Submission
from tests.backend.builders import Account, add_account, add_form
from tests.support.builders import NOW_MS, submission
from tests.support.clock import ManualClock

DAY = 24 * 3600
STORED, REPLAYED, REJECTED = ItemStatus.STORED, ItemStatus.REPLAYED, ItemStatus.REJECTED

pytestmark = pytest.mark.asyncio


def keyed(form: FormRow, key: str = "order-1", fingerprint: str = "a") -> Submission:
    return submission(
        id=new_id("sub", NOW_MS), form_id=form.id, idempotency_key=key, fingerprint=fingerprint
    )


def promised(form: FormRow, **members: object) -> Submission:
    """As it comes out of a spool."""
    return submission(id=new_id("sub", NOW_MS), form_id=form.id, is_promised=True, **members)


async def free_form(services: Services, **members: object) -> FormRow:
    """A form of an account that may store 100 submissions a month."""
    return await add_form(services, await add_account(services, plan="free"), **members)


async def post(
    services: Services, form: FormRow, count: int, **members: object
) -> list[ItemResult]:
    return await services.intake.commit(
        [submission(id=new_id("sub", NOW_MS), form_id=form.id, **members) for _ in range(count)]
    )


async def stored_rows(services: Services) -> int:
    async with services.database.read() as connection:
        return (await connection.execute(select(func.count(submissions.c.id)))).scalar_one()


async def used(services: Services) -> list[tuple[str, int]]:
    async with services.database.read() as connection:
        rows = await connection.execute(
            select(usage_months.c.month, usage_months.c.submissions).order_by(usage_months.c.month)
        )
        return [(row.month, row.submissions) for row in rows]


async def test_a_key_is_bound_to_its_first_submission(services: Services, account: Account) -> None:
    form = await add_form(services, account)
    first = keyed(form)
    await services.intake.commit([first])
    [again] = await services.intake.commit([keyed(form)])
    assert again == ItemResult(REPLAYED, first.id, first.received_at)
    assert await stored_rows(services) == 1


async def test_a_key_twice_in_one_batch_is_stored_once(
    services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    batch = [keyed(form), keyed(form), keyed(form, key="other")]
    results = await services.intake.commit(batch)
    assert [result.id for result in results] == [batch[0].id, batch[0].id, batch[2].id]
    assert await stored_rows(services) == 2


async def test_a_key_belongs_to_its_form(services: Services, account: Account) -> None:
    forms = [await add_form(services, account) for _ in range(2)]
    results = await services.intake.commit([keyed(form) for form in forms])
    assert [result.status for result in results] == [STORED, STORED]


async def test_another_body_is_marked_and_on_a_strict_form_refused(
    services: Services, account: Account
) -> None:
    lenient = await add_form(services, account)
    strict = await add_form(services, account, idempotency_strict=True)
    await services.intake.commit([keyed(lenient), keyed(strict)])
    marked, refused = await services.intake.commit(
        [keyed(lenient, fingerprint="b"), keyed(strict, fingerprint="b")]
    )
    assert (marked.status, marked.is_mismatch) == (REPLAYED, True)
    assert (refused.status, refused.problem) == (REJECTED, "idempotency-mismatch")


async def test_a_key_is_free_again_after_exactly_a_day(
    services: Services, account: Account, clock: ManualClock
) -> None:
    form = await add_form(services, account)
    await services.intake.commit([keyed(form)])
    clock.advance(DAY - 0.001)
    [before] = await services.intake.commit([keyed(form)])
    clock.advance(0.001)
    [after] = await services.intake.commit([keyed(form)])
    assert (before.status, after.status) == (REPLAYED, STORED)


async def test_what_is_refused_binds_no_key(services: Services, account: Account) -> None:
    form = await add_form(services, account, status="paused")
    await services.intake.commit([keyed(form)])
    await services.forms.change(account.principal, form.id, {"status": "live"})
    [result] = await services.intake.commit([keyed(form)])
    assert result.status is STORED


async def test_one_key_at_once_through_many_commits_is_one_submission(
    services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    results = await asyncio.gather(*(services.intake.commit([keyed(form)]) for _ in range(12)))
    assert len({result.id for [result] in results}) == 1
    assert await stored_rows(services) == 1


async def test_a_quota_is_never_exceeded_and_says_when_it_starts_anew(services: Services) -> None:
    form = await free_form(services)
    assert {result.status for result in await post(services, form, 99)} == {STORED}
    last, over = await post(services, form, 2)
    assert (last.status, over.problem) == (STORED, "quota-exceeded")
    assert over.quota is not None
    assert (over.quota.limit, over.quota.used) == (100, 100)
    assert await used(services) == [("2026-05", 100)]


async def test_concurrent_commits_share_one_quota(services: Services) -> None:
    form = await free_form(services)
    batches = await asyncio.gather(*(post(services, form, 20) for _ in range(20)))
    results = [result.status for batch in batches for result in batch]
    assert (results.count(STORED), results.count(REJECTED)) == (100, 300)
    assert await stored_rows(services) == 100
    assert await used(services) == [("2026-05", 100)]


async def test_the_month_ends_at_midnight_utc(services: Services, clock: ManualClock) -> None:
    form = await free_form(services)
    await post(services, form, 100)
    [over] = await post(services, form, 1)
    assert over.quota is not None
    clock.advance((over.quota.resets_at - clock.now_ms()) / 1000)
    [result] = await post(services, form, 1)
    assert result.status is STORED
    assert await used(services) == [("2026-05", 100), ("2026-06", 1)]


async def test_spam_test_forms_and_replays_cost_nothing(services: Services) -> None:
    form = await free_form(services)
    test_form = await free_form(services, mode="test")
    await post(services, form, 100)
    first = keyed(test_form)
    results = [
        *await post(services, form, 1, status="spam"),
        *await services.intake.commit([first]),
        *await services.intake.commit([keyed(test_form)]),
    ]
    assert [result.status for result in results] == [STORED, STORED, REPLAYED]
    assert sorted(await used(services)) == [("2026-05", 0), ("2026-05", 100)]


async def test_what_the_quota_refuses_binds_no_key_even_within_its_batch(
    services: Services,
) -> None:
    form = await free_form(services)
    await post(services, form, 100)
    results = await services.intake.commit([keyed(form), keyed(form)])
    assert [result.problem for result in results] == ["quota-exceeded"] * 2


async def test_four_fifths_and_all_of_a_quota_are_noted_once(
    services: Services, clock: ManualClock
) -> None:
    form = await free_form(services)
    marks = []
    for count in (79, 1, 19, 1, 1):
        clock.advance(1)
        await post(services, form, count)
        async with services.database.read() as connection:
            row = (await connection.execute(select(usage_months))).one()
        marks.append((row.reached_80_at is not None, row.reached_100_at is not None))
    assert marks == [(False, False), (True, False), (True, False), (True, True), (True, True)]


async def test_what_is_stored_is_replayed_even_if_it_would_be_refused_by_now(
    services: Services,
) -> None:
    form = await free_form(services)
    first = submission(form_id=form.id)
    await services.intake.commit([first])
    await post(services, form, 99)
    [again, over] = await services.intake.commit([first, submission(form_id=form.id)])
    assert again == ItemResult(REPLAYED, first.id, first.received_at)
    assert over.problem == "quota-exceeded"


async def test_a_promised_submission_is_stored_whatever_has_become_of_form_key_and_quota(
    services: Services, account: Account, clock: ManualClock
) -> None:
    form = await add_form(services, account)
    key, text = await services.keys.create(account.principal, "k", KeyKind.SUBMISSION)
    key_id = text.removeprefix("ff_sub_")[:12]
    clock.advance(1)
    await services.keys.revoke(account.principal, key.id)
    await services.forms.change(account.principal, form.id, {"status": "paused"})
    before = promised(form, key_id=key_id, received_at=clock.now_ms() - 500)
    after = promised(form, key_id=key_id, received_at=clock.now_ms() + 500)
    results = await services.intake.commit([before, after])
    assert (results[0].status, results[1].problem) == (STORED, "invalid-key")


async def test_without_a_lease_a_promise_is_kept_above_the_quota(services: Services) -> None:
    form = await free_form(services)
    await post(services, form, 100)
    [result] = await services.intake.commit([promised(form, lease_id="lse_gone")])
    assert result.status is STORED
    assert await used(services) == [("2026-05", 101)]


async def test_a_promised_id_that_loses_its_key_stands_for_the_winner(
    services: Services, account: Account, client: httpx.AsyncClient
) -> None:
    form = await add_form(services, account, idempotency_strict=True)
    winner = keyed(form)
    loser = promised(form, idempotency_key="order-1", fingerprint="b")
    await services.intake.commit([winner])
    for _ in range(2):
        [result] = await services.intake.commit([loser])
        assert (result.status, result.id) == (REPLAYED, winner.id)
    found = (await client.get(f"/v1/submissions/{loser.id}")).json()
    assert found["id"] == winner.id
    assert await stored_rows(services) == 1


async def test_promises_of_one_key_drained_at_once_are_one_submission(
    services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    items = [promised(form, idempotency_key="k", fingerprint="a") for _ in range(6)]
    batches = await asyncio.gather(*(services.intake.commit([item, item]) for item in items))
    assert len({result.id for batch in batches for result in batch}) == 1
    assert await stored_rows(services) == 1
