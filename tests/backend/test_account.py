"""The account: its name, its plan, and who may change that."""

from dataclasses import replace

import httpx
import pytest
from sqlalchemy import select

from backend.access import RIGHTS, Reach
from backend.accounts.roles import Grant
from backend.changes import read_state
from backend.internal.store import forms_changed
from backend.management import Services
from backend.tables import api_keys
from contracts.problems import Problem, Rejected
from tests.backend.builders import Account, add_account, add_form
from tests.backend.conftest import OPERATOR_TOKEN
from tests.support.clock import ManualClock

pytestmark = pytest.mark.asyncio


async def revision_of(services: Services) -> int:
    async with services.database.read() as connection:
        return (await read_state(connection)).revision


async def test_an_account_shows_its_plan_and_its_owners(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    _, token = await services.members.invite(account.principal, "o@example.com", Grant("owner"))
    await services.members.invite(account.principal, "late@example.com", Grant("owner"))
    await services.members.accept(token)
    shown = (await client.get("/v1/account")).json()
    assert shown["id"] == account.principal.account_id
    assert (shown["name"], shown["plan"]) == ("Test", "selfhost")
    assert shown["owner_emails"] == ["o@example.com"]
    assert shown["limits"]["file_megabytes"] == 25


async def test_a_name_is_changed_and_nothing_else(client: httpx.AsyncClient) -> None:
    before = (await client.get("/v1/account")).json()
    changed = await client.patch("/v1/account", json={"name": "Example Ltd"})
    assert changed.json() == before | {"name": "Example Ltd"}
    assert (await client.patch("/v1/account", json={})).json() == changed.json()
    for body in ({"name": ""}, {"name": None}, {"id": "acc_x"}, {"plan": "no-such-plan"}):
        assert (await client.patch("/v1/account", json=body)).status_code == 422


async def test_the_operator_changes_the_plan(client: httpx.AsyncClient) -> None:
    operator = {"Authorization": f"Bearer {OPERATOR_TOKEN}"}
    changed = await client.patch("/v1/account", json={"plan": "free"}, headers=operator)
    assert (changed.status_code, changed.json()["plan"]) == (200, "free")
    assert changed.json()["may_change_plan"]
    back = await client.patch("/v1/account", json={"plan": "pro", "name": "Pro"})
    assert (back.json()["plan"], back.json()["limits"]["keys"]) == ("pro", 10)


async def test_nobody_else_changes_the_plan(
    services: Services, account: Account, clock: ManualClock
) -> None:
    clock.advance(1)
    later = (await add_account(services)).principal
    first = account.principal
    for principal in (
        later,
        replace(first, rights=RIGHTS - {"billing:view"}),
        replace(first, reach=Reach(environment="production")),
        replace(first, reach=Reach(is_sandbox=True)),
    ):
        with pytest.raises(Rejected) as raised:
            await services.accounts.change(principal, "renamed", "enterprise")
        assert raised.value.problem is Problem.INSUFFICIENT_SCOPE
        unchanged = await services.accounts.get(principal)
        assert (unchanged.name, unchanged.plan_name) == ("Test", "selfhost")
        assert not unchanged.may_change_plan


async def test_a_new_plan_is_told_with_every_form_and_key_of_the_account(
    services: Services, account: Account, clock: ManualClock
) -> None:
    clock.advance(1)
    some = [await add_form(services, account) for _ in range(2)]
    other = await add_account(services)
    await add_form(services, other)
    gone = await add_form(services, account)
    await services.forms.delete(account.principal, gone.id)
    since = await revision_of(services)
    await services.accounts.change(account.principal, None, "free")
    async with services.database.read() as connection:
        changed = await forms_changed(connection, services.form_configs, since)
        keys = await connection.execute(
            select(api_keys.c.account_id).where(api_keys.c.revision > since)
        )
        assert set(keys.scalars()) == {account.principal.account_id}
    assert changed is not None
    assert changed.keys() == {form.slug for form in some}
    for config in changed.values():
        assert config is not None
        assert (config.file_bytes, config.has_quota) == (0, True)
    renamed_from = await revision_of(services)
    await services.accounts.change(account.principal, "Another name", None)
    assert await revision_of(services) == renamed_from
