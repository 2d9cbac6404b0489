import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from sqlalchemy import func, insert, select

from backend.files import FileStore
from backend.forms.creation import SLUG_KEPT_MS
from backend.forms.store import FormRow
from backend.management import Services, create_services
from backend.removal.retention import DAY_MS
from backend.removal.service import BATCH
from backend.tables import audit_log, files, forms, idempotency_keys, submissions
from contracts.ids import new_id
from tests.backend.builders import Account, add_account, add_form, add_submission, create_form
from tests.backend.form_builders import with_plan
from tests.support.clock import ManualClock

pytestmark = pytest.mark.asyncio
DAY_SECONDS = DAY_MS / 1000


@pytest.fixture
def services(services: Services, tmp_path: Path) -> Services:
    """The services with a directory of their own for files."""
    settings = services.settings.model_copy(update={"data_dir": tmp_path})
    return create_services(settings, services.clock, services.database, hash_cost=4)


async def count(services: Services, table: Any) -> int:
    async with services.database.read() as connection:
        found = await connection.execute(select(func.count()).select_from(table))
        return int(found.scalar_one())


async def ids_of(services: Services, form: FormRow) -> list[str]:
    statement = select(submissions.c.id).where(submissions.c.form_id == form.id)
    async with services.database.read() as connection:
        return sorted((await connection.execute(statement)).scalars())


async def fill(services: Services, form: FormRow, number: int) -> None:
    """Adds so many submissions, of one time."""
    now_ms = services.clock.now_ms()
    usual = {
        "form_id": form.id,
        "received_at": now_ms,
        "status": "spam",
        "payload": "{}",
        "meta": "{}",
        "trace": "[]",
        "charged": 0,
    }
    rows = [usual | {"id": new_id("sub", now_ms)} for _ in range(number)]
    async with services.database.write() as connection:
        await connection.execute(insert(submissions), rows)


async def add_file(services: Services, form: FormRow, submission_id: str) -> str:
    """Stores a file with its row; returns its key."""
    key = f"{form.id}/2026/05/{submission_id}/0-a.txt"
    row = {
        "id": new_id("fil", services.clock.now_ms()),
        "submission_id": submission_id,
        "position": 0,
        "field": "cv",
        "name": "a.txt",
        "size": 2,
        "content_type": "text/plain",
        "sha256": "",
        "object_key": key,
    }
    async with services.database.write() as connection:
        await connection.execute(insert(files).values(row))
    await services.files.put(key, _chunks(b"hi"))
    return key


async def _chunks(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def bind_key(services: Services, form: FormRow, submission_id: str) -> None:
    row = {
        "form_id": form.id,
        "key": "order-1",
        "submission_id": submission_id,
        "fingerprint": "",
        "received_at": 0,
        "expires_at": services.clock.now_ms() + DAY_MS,
    }
    async with services.database.write() as connection:
        await connection.execute(insert(idempotency_keys).values(row))


async def is_stored(store: FileStore, key: str) -> bool:
    return await store.get(key) is not None


async def events(services: Services, action: str) -> list[dict[str, Any]]:
    statement = select(audit_log).where(audit_log.c.action == action).order_by(audit_log.c.id)
    async with services.database.read() as connection:
        rows = (await connection.execute(statement)).all()
    return [dict(row._mapping) | {"details": orjson.loads(row.details)} for row in rows]


async def test_a_deleted_form_leaves_nothing_but_its_slug(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    form, other = await add_form(services, account), await add_form(services, account)
    gone, kept = await add_submission(services, form), await add_submission(services, other)
    await bind_key(services, form, gone)
    keys = [await add_file(services, form, gone), await add_file(services, other, kept)]
    assert (await client.delete(f"/v1/forms/{form.id}")).status_code == 204
    assert await count(services, submissions) == await count(services, files) == 1
    assert await count(services, idempotency_keys) == 0
    assert [await is_stored(services.files, key) for key in keys] == [False, True]
    assert await ids_of(services, other) == [kept]


async def test_a_large_form_is_out_of_reach_at_once_and_emptied_behind(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    await fill(services, form, 2 * BATCH + 1)
    assert (await client.delete(f"/v1/forms/{form.id}")).status_code == 204
    assert (await client.get(f"/v1/forms/{form.id}")).status_code == 404
    assert (await client.get("/v1/submissions?status=all")).json()["data"] == []
    assert len(await ids_of(services, form)) == BATCH + 1
    removing = asyncio.create_task(services.removal.run())
    async with asyncio.timeout(30):
        while await ids_of(services, form):
            await asyncio.sleep(0.01)
    removing.cancel()
    await asyncio.wait([removing])


async def test_what_a_crash_interrupts_goes_on_at_the_next_start(
    client: httpx.AsyncClient, services: Services, account: Account, tmp_path: Path
) -> None:
    form = await add_form(services, account)
    await fill(services, form, BATCH + 1)
    await client.delete(f"/v1/forms/{form.id}")
    # The process dies before anything runs behind the request: another one knows nothing of it.
    next_process = with_plan(services, tmp_path)
    removing = asyncio.create_task(next_process.removal.run())
    async with asyncio.timeout(30):
        while await ids_of(services, form):
            await asyncio.sleep(0.01)
    removing.cancel()
    await asyncio.wait([removing])


async def test_a_tombstone_goes_when_its_slug_is_free_again(
    client: httpx.AsyncClient, services: Services, account: Account, clock: ManualClock
) -> None:
    form = await add_form(services, account, slug="mine")
    await add_form(services, account)
    await client.delete(f"/v1/forms/{form.id}")
    clock.advance(SLUG_KEPT_MS / 1000 - 1)
    await services.removal.sweep()
    assert await count(services, forms) == 2
    clock.advance(1)
    await services.removal.sweep()
    assert await count(services, forms) == 1
    assert (await create_form(client, slug="mine"))["slug"] == "mine"


async def test_a_slug_stays_taken_while_rows_of_its_form_remain(
    client: httpx.AsyncClient, services: Services, account: Account, clock: ManualClock
) -> None:
    form = await add_form(services, account, slug="mine")
    await fill(services, form, BATCH + 1)
    await client.delete(f"/v1/forms/{form.id}")
    clock.advance(SLUG_KEPT_MS / 1000)
    own = {"name": "Mine", "slug": "mine"}
    assert (await client.post("/v1/forms", json=own)).status_code == 409
    assert (await create_form(client, name="Mine"))["slug"] == "mine-2"
    await services.removal.sweep()
    assert (await client.post("/v1/forms", json=own)).status_code == 201


async def test_submissions_go_when_they_are_older_than_their_form_keeps_them(
    services: Services, account: Account, clock: ManualClock
) -> None:
    keeping = await add_form(services, account, retention_days=30)
    forever = await add_form(services, account)
    old = [await add_submission(services, form) for form in (keeping, forever)]
    spam = await add_submission(services, keeping, status="spam")
    key = await add_file(services, keeping, old[0])
    clock.advance(DAY_SECONDS)
    young = await add_submission(services, keeping)
    clock.advance(29 * DAY_SECONDS)
    await services.retention.sweep()
    assert await ids_of(services, keeping) == [young]
    assert await ids_of(services, forever) == [old[1]]
    assert not await is_stored(services.files, key)
    assert spam not in await ids_of(services, keeping)
    [event] = await events(services, "form.expired_submissions_removed")
    assert (event["actor_kind"], event["target"]) == ("system", keeping.id)
    assert event["details"]["count"] == 2


async def test_a_submission_stays_to_the_last_millisecond(
    services: Services, account: Account, clock: ManualClock
) -> None:
    form = await add_form(services, account, retention_days=1)
    await add_submission(services, form)
    clock.advance(DAY_SECONDS)
    await services.retention.sweep()
    assert len(await ids_of(services, form)) == 1
    clock.advance(DAY_SECONDS)
    await services.retention.sweep()
    assert await ids_of(services, form) == []


async def test_the_retention_runs_once_a_day(
    services: Services, account: Account, clock: ManualClock
) -> None:
    form = await add_form(services, account, retention_days=1)
    await services.retention.sweep()
    await add_submission(services, form, id=new_id("sub", 1))
    clock.advance(DAY_SECONDS - 60)
    await services.retention.sweep()
    assert len(await ids_of(services, form)) == 1
    clock.advance(60)
    await services.retention.sweep()
    assert await ids_of(services, form) == []


async def test_a_clock_that_steps_back_removes_nothing_and_stops_nothing(
    services: Services, account: Account, clock: ManualClock
) -> None:
    form = await add_form(services, account, retention_days=1)
    await add_submission(services, form)
    clock.advance(-30 * DAY_SECONDS)
    await services.retention.sweep()
    assert len(await ids_of(services, form)) == 1
    # The last run is ahead now: that is no reason to wait for the clock to catch up.
    clock.advance(-30 * DAY_SECONDS)
    await add_submission(services, form, id=new_id("sub", 1))
    await services.retention.sweep()
    assert len(await ids_of(services, form)) == 1


async def test_more_than_a_batch_goes_in_one_run_with_one_event(
    services: Services, account: Account, clock: ManualClock
) -> None:
    form = await add_form(services, account, retention_days=1)
    await fill(services, form, 2 * BATCH + 1)
    clock.advance(2 * DAY_SECONDS)
    await services.retention.sweep()
    assert await ids_of(services, form) == []
    [event] = await events(services, "form.expired_submissions_removed")
    assert event["details"]["count"] == 2 * BATCH + 1


async def test_the_plans_cap_holds_where_a_form_says_nothing_or_more(
    services: Services, clock: ManualClock, tmp_path: Path
) -> None:
    account = await add_account(services, plan="only")
    silent = await add_form(services, account)
    longer = await add_form(services, account, retention_days=1_000)
    capped = with_plan(services, tmp_path, retention_days=30)
    for form in (silent, longer):
        await add_submission(services, form)
    clock.advance(31 * DAY_SECONDS)
    await capped.retention.sweep()
    assert await ids_of(services, silent) == await ids_of(services, longer) == []


async def test_every_change_of_a_form_is_in_the_audit_log(
    client: httpx.AsyncClient, services: Services
) -> None:
    form = await create_form(client)
    path = f"/v1/forms/{form['id']}"
    await client.patch(path, json={"name": "New", "status": "paused"})
    copy = (await client.post(f"{path}/duplicate", json={})).json()
    await client.delete(path)
    [created] = await events(services, "form.created")
    assert (created["target"], created["details"]["slug"]) == (form["id"], "contact")
    [changed] = await events(services, "form.changed")
    assert changed["details"] == {"members": ["name", "status"]}
    [duplicated] = await events(services, "form.duplicated")
    assert (duplicated["target"], duplicated["details"]["of"]) == (copy["id"], form["id"])
    [deleted] = await events(services, "form.deleted")
    assert deleted["details"] == {"name": "New", "slug": "contact"}


async def test_a_refused_change_leaves_no_event(
    client: httpx.AsyncClient, services: Services
) -> None:
    form = await create_form(client)
    answer = await client.patch(f"/v1/forms/{form['id']}", json={"environment": "nowhere"})
    assert answer.status_code == 422
    assert await events(services, "form.changed") == []
