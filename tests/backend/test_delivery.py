"""Delivery, from the commit to the log: what goes out, when again, and what stops it."""

import asyncio
from collections import Counter
from typing import Any

import httpx
import orjson
import pytest
from sqlalchemy import func, insert, select, text, update

from backend.accounts.store import insert_owner
from backend.delivery.attempts import (
    AUTORESPONSE,
    SUBMISSION_CREATED,
    Attempt,
    Delivery,
    Kind,
    Verdict,
)
from backend.delivery.bulk_store import disable_webhook
from backend.delivery.expander import Expander
from backend.delivery.retention import DeliveryRetention
from backend.delivery.store import counts
from backend.forms.store import FormRow
from backend.management import Services
from backend.tables import deliveries, delivery_attempts, outbox, webhooks
from contracts.ids import new_id
from contracts.runtime.clock import iso
from tests.backend.builders import Account, add_account, add_form, add_submission
from tests.backend.delivering import (
    BAD,
    GOOD,
    add_webhook,
    all_are,
    always,
    delivering,
    eventually,
    statuses,
)
from tests.support.builders import submission
from tests.support.clock import ManualClock

pytestmark = pytest.mark.asyncio


async def post(services: Services, form: FormRow, count: int = 1, **members: Any) -> list[str]:
    """Commits submissions; their ids."""
    now_ms = services.clock.now_ms()
    items = [
        submission(id=new_id("sub", now_ms), form_id=form.id, received_at=now_ms, **members)
        for _ in range(count)
    ]
    await services.intake.commit(items)
    return [item.id for item in items]


async def rows_in(services: Services, table: object) -> int:
    async with services.database.read() as connection:
        statement = select(func.count()).select_from(table)  # type: ignore[arg-type]
        return (await connection.execute(statement)).scalar_one()


async def webhook_row(services: Services, id: str) -> object:
    async with services.database.read() as connection:
        return (await connection.execute(select(webhooks).where(webhooks.c.id == id))).one()


async def test_each_submission_goes_to_each_webhook_and_each_address_once(
    services: Services, account: Account
) -> None:
    form = await add_form(services, account, notify_emails="ada@example.com,bob@example.com")
    first, second = await add_webhook(services, form), await add_webhook(services, form)
    ids = await post(services, form, 3)
    async with delivering(services, always(GOOD)) as sender:
        await eventually(lambda: all_are(services, "delivered", 12))
    expected = {
        (id, target)
        for id in ids
        for target in (first, second, "ada@example.com", "bob@example.com")
    }
    found = Counter((each.submission_id, each.webhook_id or each.recipient) for each in sender.sent)
    assert found == dict.fromkeys(expected, 1)
    assert await rows_in(services, outbox) == 0
    assert await rows_in(services, delivery_attempts) == 12


@pytest.mark.parametrize(
    ("form_members", "members"),
    [({}, {"status": "spam"}), ({}, {"status": "held"}), ({"mode": "test"}, {})],
)
async def test_spam_held_and_test_submissions_deliver_nothing(
    services: Services,
    account: Account,
    form_members: dict[str, str],
    members: dict[str, Any],
) -> None:
    form = await add_form(services, account, notify_emails="ada@example.com", **form_members)
    await add_webhook(services, form)
    await post(services, form, **members)
    assert await rows_in(services, outbox) == 0


async def is_expanded(services: Services) -> bool:
    """Whether deliveries have been made of all that the outbox held."""
    return await rows_in(services, outbox) == 0


async def test_a_form_that_tells_nobody_leaves_nothing_in_the_outbox(
    services: Services, account: Account
) -> None:
    form = await add_form(services, account, notify_emails="")
    await add_webhook(services, form, enabled=False)
    await post(services, form)
    assert await rows_in(services, outbox) == 0


async def test_a_replayed_post_is_delivered_once(services: Services, account: Account) -> None:
    form = await add_form(services, account, notify_emails="ada@example.com")
    item = submission(id=new_id("sub", services.clock.now_ms()), form_id=form.id)
    for _ in range(2):
        await services.intake.commit([item])
    assert await rows_in(services, outbox) == 1


async def test_five_attempts_are_made_as_the_schedule_says_and_then_it_has_failed(
    services: Services, account: Account, clock: ManualClock
) -> None:
    form = await add_form(services, account, notify_emails="")
    await add_webhook(services, form)
    await post(services, form)
    started = clock.now_ms()
    times: list[float] = []

    async def reply(_: Delivery) -> Attempt:
        times.append((clock.now_ms() - started) / 1000)
        return BAD

    async with delivering(services, reply) as sender:
        for number, pause in enumerate((0, 1, 10, 60, 600), 1):
            clock.advance(pause)
            services.doorbell.ring()

            async def is_logged(number: int = number) -> bool:
                return await rows_in(services, delivery_attempts) == number

            await eventually(is_logged)
        assert await all_are(services, "failed", 1)
        clock.advance(24 * 3600)
        services.doorbell.ring()
    assert times == [0, 1, 11, 71, 671]
    assert [each.attempt for each in sender.sent] == [1, 2, 3, 4, 5]
    assert len({each.id for each in sender.sent}) == 1


async def test_a_refusal_for_good_is_not_tried_again(services: Services, account: Account) -> None:
    form = await add_form(services, account, notify_emails="nobody@example.com")
    await post(services, form)
    refused = Attempt(Verdict.REFUSED, status=550, error="550 no such user")
    async with delivering(services, always(refused)) as sender:
        await eventually(lambda: all_are(services, "failed", 1))
    assert len(sender.sent) == 1


async def test_a_relay_that_is_away_costs_no_attempt(
    services: Services, account: Account, clock: ManualClock
) -> None:
    form = await add_form(services, account, notify_emails="ada@example.com")
    await post(services, form)
    away = Attempt(Verdict.AWAY, error="connection refused")
    replies = iter([away] * 8 + [GOOD])

    async def reply(_: Delivery) -> Attempt:
        return next(replies)

    async with delivering(services, reply) as sender:

        async def is_delivered() -> bool:
            clock.advance(40)
            services.doorbell.ring()
            return await all_are(services, "delivered", 1)

        await eventually(is_delivered)
    assert [each.attempt for each in sender.sent] == [1] * 9


async def test_410_disables_the_webhook_parks_what_is_pending_and_tells_the_owner(
    services: Services, account: Account
) -> None:
    await add_owner(services, account, "owner@example.com")
    form = await add_form(services, account, notify_emails="")
    webhook = await add_webhook(services, form)
    await post(services, form, 3)
    gone = Attempt(Verdict.GONE, status=410)

    async def reply(delivery: Delivery) -> Attempt:
        return gone if delivery.kind is Kind.WEBHOOK else GOOD

    async with delivering(services, reply) as sender:

        async def owner_is_told() -> bool:
            return any(each.recipient == "owner@example.com" for each in sender.sent)

        await eventually(owner_is_told)
    row = await webhook_row(services, webhook)
    assert not row.enabled  # type: ignore[attr-defined]
    assert "410" in row.disabled_reason  # type: ignore[attr-defined]
    assert Counter((await statuses(services)).values())["parked"] == 2


async def test_five_failures_disable_a_webhook_only_after_an_hour(
    services: Services, account: Account, clock: ManualClock
) -> None:
    form = await add_form(services, account, notify_emails="")
    webhook = await add_webhook(services, form)
    async with delivering(services, always(BAD), attempts=1):
        for number in range(1, 7):
            await post(services, form)

            async def has_failed(number: int = number) -> bool:
                clock.advance(15)
                services.doorbell.ring()
                row = await webhook_row(services, webhook)
                return bool(row.failures_in_row == number)  # type: ignore[attr-defined]

            await eventually(has_failed)
        assert (await webhook_row(services, webhook)).enabled  # type: ignore[attr-defined]
        clock.advance(3600)
        await post(services, form)

        async def is_disabled() -> bool:
            clock.advance(15)
            services.doorbell.ring()
            return not (await webhook_row(services, webhook)).enabled  # type: ignore[attr-defined]

        await eventually(is_disabled)


async def test_a_success_ends_a_row_of_failures(services: Services, account: Account) -> None:
    form = await add_form(services, account, notify_emails="")
    now_ms = services.clock.now_ms()
    webhook = await add_webhook(services, form, failures_in_row=9, failing_since=now_ms - 7_200_000)
    await post(services, form)
    async with delivering(services, always(GOOD)):
        await eventually(lambda: all_are(services, "delivered", 1))
    row = await webhook_row(services, webhook)
    assert (row.failures_in_row, row.failing_since) == (0, None)  # type: ignore[attr-defined]
    assert row.last_delivery_at == now_ms  # type: ignore[attr-defined]


async def test_targets_that_hang_do_not_delay_another(services: Services, account: Account) -> None:
    hanging = await add_form(services, account, notify_emails="")
    slow = {await add_webhook(services, hanging) for _ in range(60)}
    good_form = await add_form(services, account, notify_emails="")
    good = await add_webhook(services, good_form)
    release = asyncio.Event()

    async def reply(delivery: Delivery) -> Attempt:
        if delivery.webhook_id in slow:
            await release.wait()
        return GOOD

    await post(services, hanging, 4)
    async with delivering(services, reply) as sender:

        async def all_hang() -> bool:
            return {each.webhook_id for each in sender.sent} >= slow

        await eventually(all_hang)
        await post(services, good_form, 20)

        async def is_delivered() -> bool:
            return sum(each.webhook_id == good for each in sender.sent) == 20

        await eventually(is_delivered)
        release.set()
        await eventually(lambda: all_are(services, "delivered", 260))


async def test_what_a_crash_interrupted_is_sent_again_under_the_same_id(
    services: Services, account: Account, clock: ManualClock
) -> None:
    form = await add_form(services, account, notify_emails="")
    await add_webhook(services, form)
    await post(services, form)
    hangs = asyncio.Event()

    async def never(_: Delivery) -> Attempt:
        await hangs.wait()
        return GOOD

    async with delivering(services, never) as first:

        async def is_sent() -> bool:
            return bool(first.sent)

        await eventually(is_sent)
        async with services.database.write() as connection:
            # As if the process had died: what it holds is never recorded.
            await connection.execute(update(deliveries).values(claim="another"))
    async with delivering(services, always(GOOD)) as second:
        clock.advance(61)
        services.doorbell.ring()
        await eventually(lambda: all_are(services, "delivered", 1))
    assert [each.id for each in second.sent] == [each.id for each in first.sent]
    assert [each.attempt for each in second.sent] == [1]


async def test_two_dispatchers_share_the_work_and_send_nothing_twice(
    services: Services, account: Account
) -> None:
    form = await add_form(services, account, notify_emails="")
    for _ in range(10):
        await add_webhook(services, form)
    async with delivering(services, always(GOOD)) as one, delivering(services, always(GOOD)) as two:
        await post(services, form, 30)
        await eventually(lambda: all_are(services, "delivered", 300))
    assert max(Counter(each.id for each in one.sent + two.sent).values()) == 1


async def test_a_deleted_submission_takes_its_deliveries_and_their_log_along(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    form = await add_form(services, account, notify_emails="ada@example.com")
    [id] = await post(services, form)
    async with delivering(services, always(GOOD)):
        await eventually(lambda: all_are(services, "delivered", 1))
    assert (await client.delete(f"/v1/submissions/{id}")).status_code == 204
    assert await rows_in(services, deliveries) == await rows_in(services, delivery_attempts) == 0


async def test_a_deleted_form_takes_its_webhooks_and_deliveries_along(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    form = await add_form(services, account, notify_emails="ada@example.com")
    await add_webhook(services, form)
    await post(services, form)
    async with delivering(services, always(GOOD)):
        await eventually(lambda: all_are(services, "delivered", 2))
    assert (await client.delete(f"/v1/forms/{form.id}")).status_code == 204
    await services.removal.remove_buried()
    for table in (webhooks, deliveries, delivery_attempts):
        assert await rows_in(services, table) == 0


async def test_a_released_submission_goes_out_once_however_often_it_is_filed(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    form = await add_form(services, account, notify_emails="ada@example.com")
    held = await add_submission(services, form, status="held")
    received = await add_submission(services, form)
    for id in (held, received):
        for status in ("received", "spam", "received", "received"):
            answer = await client.patch(f"/v1/submissions/{id}", json={"status": status})
            assert answer.status_code == 200, answer.text
    async with delivering(services, always(GOOD)) as sender:
        await eventually(lambda: all_are(services, "delivered", 1))
    assert [each.submission_id for each in sender.sent] == [held]


async def test_a_submission_shows_where_its_deliveries_are(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    form = await add_form(services, account, notify_emails="ada@example.com")
    webhook = await add_webhook(services, form)
    [id] = await post(services, form)
    waiting = (await client.get(f"/v1/submissions/{id}")).json()
    assert waiting["trace"]["deliveries"]["waiting"]

    async def reply(delivery: Delivery) -> Attempt:
        return BAD if delivery.kind is Kind.WEBHOOK else GOOD

    async with delivering(services, reply, attempts=1):

        async def has_ended() -> bool:
            return set((await statuses(services)).values()) == {"delivered", "failed"}

        await eventually(has_ended)
    shown = (await client.get(f"/v1/submissions/{id}")).json()
    assert {
        (each["kind"], each["target"], each["status"], each["attempts"], each["last_error"])
        for each in shown["deliveries"]
    } == {
        ("webhook", webhook, "failed", 1, "the target answered 500"),
        ("mail", "ada@example.com", "delivered", 1, None),
    }
    assert shown["trace"]["deliveries"] == {
        "waiting": False,
        "pending": 0,
        "delivered": 1,
        "failed": 1,
        "parked": 0,
    }


async def test_a_visitor_is_answered_once_a_day_by_each_form(
    services: Services, account: Account, clock: ManualClock
) -> None:
    members = {"notify_emails": "", "autoresponse_enabled": True}
    forms = [await add_form(services, account, **members) for _ in range(2)]
    payloads = ("ada@example.com", "ADA@example.com", "bob@example.com", "not an address", "")
    async with delivering(services, always(GOOD)) as sender:
        for _ in range(2):
            for form in forms:
                for address in payloads:
                    payload = orjson.dumps({"email": address}).decode()
                    await post(services, form, payload=payload)
        await eventually(lambda: is_expanded(services))
        await eventually(lambda: all_are(services, "delivered", 4))
        clock.advance(24 * 3600)
        await post(services, forms[0], payload='{"email":"ada@example.com"}')
        await eventually(lambda: all_are(services, "delivered", 5))
    assert {each.event for each in sender.sent} == {AUTORESPONSE}


async def test_the_owner_is_told_at_four_fifths_and_at_the_end_of_a_quota(
    services: Services,
) -> None:
    account = await add_account(services, plan="free")
    await add_owner(services, account, "owner@example.com")
    form = await add_form(services, account, notify_emails="")
    async with delivering(services, always(GOOD)) as sender:
        for count in (79, 1, 15, 5, 3):
            await post(services, form, count)
        await eventually(lambda: all_are(services, "delivered", 2))
    assert {
        (each.recipient, each.details["percent"], each.details["used"], each.details["limit"])
        for each in sender.sent
    } == {("owner@example.com", 80, 80, 100), ("owner@example.com", 100, 100, 100)}


async def test_what_failed_can_be_sent_again_one_by_one_and_since_a_time(
    client: httpx.AsyncClient, services: Services, account: Account, clock: ManualClock
) -> None:
    form = await add_form(services, account, notify_emails="")
    webhook = await add_webhook(services, form)
    await post(services, form, 2)
    async with delivering(services, always(BAD), attempts=1):
        await eventually(lambda: all_are(services, "failed", 2))
    clock.advance(20)
    [first, second] = sorted(await statuses(services))
    replayed = await client.post(f"/v1/deliveries/{first}/replay")
    assert replayed.status_code == 201, replayed.text
    assert replayed.json()["replay_of"] == first
    async with delivering(services, always(GOOD)) as sender:

        async def is_delivered() -> bool:
            return (await statuses(services)).get(replayed.json()["id"]) == "delivered"

        await eventually(is_delivered)
        since = {"since": iso(clock.now_ms() - 3_600_000)}
        again = await client.post(f"/v1/webhooks/{webhook}/replay", json=since)
        assert again.json() == {"replayed": 1, "last": None}
        both = await client.post(f"/v1/webhooks/{webhook}/replay", json=since | {"which": "all"})
        assert both.json() == {"replayed": 2, "last": None}

        async def all_delivered() -> bool:
            return Counter((await statuses(services)).values())["delivered"] == 4

        await eventually(all_delivered)
    assert all(each.attempt == 1 for each in sender.sent)
    many = await client.post(
        "/v1/deliveries/replay", json={"ids": [first, second, new_id("whd", 1)]}
    )
    assert len(many.json()["replayed"]) == 2
    assert len(many.json()["missing"]) == 1


async def test_a_row_that_nothing_can_be_made_of_keeps_nothing_from_the_others(
    services: Services, account: Account
) -> None:
    form = await add_form(services, account, notify_emails="ada@example.com")
    async with services.database.write() as connection:
        broken = {
            "id": new_id("out", 1),
            "account_id": form.account_id,
            "form_id": form.id,
            "event": SUBMISSION_CREATED,
            "submission_ids": '["sub_',
            "created_at": 1,
        }
        await connection.execute(insert(outbox).values(broken))
    await post(services, form)
    async with delivering(services, always(GOOD)) as sender:
        await eventually(lambda: all_are(services, "delivered", 1))
        await post(services, form)
        await eventually(lambda: all_are(services, "delivered", 2))
    assert len(sender.sent) == 2
    async with services.database.write() as connection:
        assert (await counts(connection)).set_aside == 1
        await connection.execute(update(outbox).values(submission_ids=f'["{new_id("sub", 1)}"]'))
    # As a backend does that knows better.
    await Expander(services.database, services.clock).readmit()
    async with delivering(services, always(GOOD)):
        await eventually(lambda: all_are(services, "delivered", 3))


async def test_what_is_disabled_while_its_attempts_are_recorded_waits_for_them(
    services: Services, account: Account
) -> None:
    """Whoever disables a webhook and whoever records an attempt at it lock the same rows: in the
    other order each would wait for the other."""
    form = await add_form(services, account, notify_emails="")
    webhook = await add_webhook(services, form)
    await post(services, form)
    async with delivering(services, always(BAD)):
        await eventually(lambda: all_are(services, "pending", 1))
    [delivery_id] = await statuses(services)

    async def disable() -> None:
        async with services.database.write() as connection:
            await disable_webhook(connection, webhook, "It is gone.", services.clock.now_ms())

    async with services.database.write() as connection:
        # An attempt is being recorded: the delivery first …
        await connection.execute(
            update(deliveries).where(deliveries.c.id == delivery_id).values(last_error="Busy.")
        )
        disabling = asyncio.create_task(disable())
        if not services.database.is_sqlite:
            await eventually(lambda: somebody_waits(services))
        # … and then its webhook.
        await connection.execute(
            update(webhooks).where(webhooks.c.id == webhook).values(failures_in_row=1)
        )
    await disabling
    assert await statuses(services) == {delivery_id: "parked"}


async def test_two_dispatchers_that_are_told_410_at_once_disable_once(
    services: Services, account: Account
) -> None:
    await add_owner(services, account, "owner@example.com")
    form = await add_form(services, account, notify_emails="")
    for _ in range(3):
        await add_webhook(services, form)
    gone = Attempt(Verdict.GONE, status=410)

    async def reply(delivery: Delivery) -> Attempt:
        return gone if delivery.kind is Kind.WEBHOOK else GOOD

    async with delivering(services, reply) as one, delivering(services, reply) as two:
        await post(services, form, 20)

        async def owner_is_told() -> bool:
            told = [each for each in one.sent + two.sent if each.kind is Kind.MAIL]
            return len(told) >= 3 and "pending" not in (await statuses(services)).values()

        await eventually(owner_is_told)
    assert sum(each.kind is Kind.MAIL for each in one.sent + two.sent) == 3


async def test_what_was_sent_is_shown_to_whoever_may_read_submissions(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    form = await add_form(services, account, notify_emails="")
    await add_webhook(services, form)
    [submission_id] = await post(services, form)
    sent = Attempt(Verdict.DELIVERED, 200, request_url="https://example.com/hook")
    async with delivering(services, always(sent)):
        await eventually(lambda: all_are(services, "delivered", 1))
    [id] = await statuses(services)
    bodies = []
    for scopes in (["webhooks:read"], ["webhooks:read", "submissions:read"]):
        terms = {"name": "looks", "kind": "management", "scopes": scopes}
        key = (await client.post("/v1/api-keys", json=terms)).json()["key"]
        headers = {"Authorization": f"Bearer {key}"}
        [attempt] = (await client.get(f"/v1/deliveries/{id}", headers=headers)).json()["log"]
        bodies.append(attempt["request"]["body"])
    assert bodies[0] is None
    assert orjson.loads(bodies[1])["data"]["submission_id"] == submission_id


async def test_a_disabled_webhook_is_sent_nothing_again(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    form = await add_form(services, account, notify_emails="")
    webhook = await add_webhook(services, form)
    await post(services, form)
    async with delivering(services, always(BAD), attempts=1):
        await eventually(lambda: all_are(services, "failed", 1))
    async with services.database.write() as connection:
        await connection.execute(update(webhooks).values(enabled=False))
    [id] = await statuses(services)
    for path, body in (
        (f"/v1/deliveries/{id}/replay", None),
        (f"/v1/webhooks/{webhook}/replay", {"since": "2020-01-01T00:00:00Z"}),
    ):
        answer = await client.post(path, json=body) if body else await client.post(path)
        assert answer.status_code == 409, answer.text


async def test_the_log_is_kept_for_thirty_days(
    services: Services, account: Account, clock: ManualClock
) -> None:
    form = await add_form(services, account, notify_emails="ada@example.com")
    await post(services, form)
    async with delivering(services, always(GOOD)):
        await eventually(lambda: all_are(services, "delivered", 1))
    retention = DeliveryRetention(services.database, clock)
    clock.advance(30 * 24 * 3600 - 1)
    await retention.sweep()
    assert await rows_in(services, deliveries) == 1
    clock.advance(2)
    await retention.sweep()
    assert await rows_in(services, deliveries) == await rows_in(services, delivery_attempts) == 0


async def somebody_waits(services: Services) -> bool:
    """Whether a transaction of PostgreSQL waits for another one."""
    async with services.database.read() as connection:
        waiting = text(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return bool((await connection.execute(waiting)).scalar_one())


async def add_owner(services: Services, account: Account, email: str) -> None:
    now_ms = services.clock.now_ms()
    async with services.database.write() as connection:
        await insert_owner(
            connection, new_id("usr", now_ms), account.principal.account_id, email, now_ms
        )
