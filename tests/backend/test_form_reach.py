from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from backend.access import Principal
from backend.management import Services
from contracts.ids import new_id
from contracts.problems import Problem, Rejected
from tests.backend.builders import Account, add_account, add_form, create_form
from tests.backend.form_builders import reaching

pytestmark = pytest.mark.asyncio

Action = Callable[[Services, Principal, str], Awaitable[Any]]
ACTIONS: dict[str, Action] = {
    "get": lambda services, caller, id: services.forms.get(caller, id),
    "change": lambda services, caller, id: services.forms.change(caller, id, {"name": "New"}),
    "change nothing": lambda services, caller, id: services.forms.change(caller, id, {}),
    "delete": lambda services, caller, id: services.forms.delete(caller, id),
}


async def refusal(attempt: Awaitable[Any]) -> Problem:
    with pytest.raises(Rejected) as caught:
        await attempt
    return caught.value.problem


async def listed(services: Services, caller: Principal) -> list[str]:
    return [row.id for row in await services.forms.list(caller, None, 10)]


@pytest.mark.parametrize("name", ACTIONS)
async def test_a_form_beyond_reach_is_missing_like_another_accounts(
    services: Services, account: Account, name: str
) -> None:
    form = await add_form(services, account)
    callers = [
        reaching(account, environment="staging"),
        reaching(account, form_ids=frozenset({"frm_other"})),
        reaching(account, form_ids=frozenset()),
        reaching(account, is_sandbox=True),
        (await add_account(services)).principal,
    ]
    for caller in callers:
        assert await refusal(ACTIONS[name](services, caller, form.id)) is Problem.NOT_FOUND
        assert await listed(services, caller) == []
    assert (await services.forms.get(account.principal, form.id)) == form


@pytest.mark.parametrize("name", ACTIONS)
async def test_a_form_within_reach_is_there(
    services: Services, account: Account, name: str
) -> None:
    form = await add_form(services, account, environment="staging", mode="test")
    await add_form(services, account)
    caller = reaching(
        account, environment="staging", form_ids=frozenset({form.id}), is_sandbox=True
    )
    assert await listed(services, caller) == [form.id]
    await ACTIONS[name](services, caller, form.id)


async def test_a_credential_of_an_environment_creates_in_it_only(
    services: Services, account: Account
) -> None:
    caller = reaching(account, environment="staging")
    form = await services.forms.create(caller, {"name": "x"})
    assert form.environment == "staging"
    elsewhere = {"name": "x", "environment": "production"}
    assert await refusal(services.forms.create(caller, elsewhere)) is Problem.INSUFFICIENT_SCOPE
    away = services.forms.change(caller, form.id, {"environment": "production"})
    assert await refusal(away) is Problem.INSUFFICIENT_SCOPE
    copy = await services.forms.duplicate(caller, form.id, None, None)
    assert copy.environment == "staging"


async def test_a_test_credential_makes_test_forms_only(
    services: Services, account: Account
) -> None:
    caller = reaching(account, is_sandbox=True)
    form = await services.forms.create(caller, {"name": "x"})
    assert form.mode == "test"
    live = {"name": "x", "mode": "live"}
    assert await refusal(services.forms.create(caller, live)) is Problem.INSUFFICIENT_SCOPE
    go_live = services.forms.change(caller, form.id, {"mode": "live"})
    assert await refusal(go_live) is Problem.INSUFFICIENT_SCOPE
    assert (await services.forms.get(account.principal, form.id)).mode == "test"


async def test_a_credential_of_some_forms_creates_no_others(
    services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    caller = reaching(account, form_ids=frozenset({form.id}))
    create = services.forms.create(caller, {"name": "x"})
    assert await refusal(create) is Problem.INSUFFICIENT_SCOPE
    duplicate = services.forms.duplicate(caller, form.id, None, None)
    assert await refusal(duplicate) is Problem.INSUFFICIENT_SCOPE
    assert len(await listed(services, account.principal)) == 1


KEYS: dict[str, dict[str, Any]] = {
    "environment": {"kind": "management", "environment": "staging"},
    "forms": {"kind": "live", "scopes": ["forms:read", "forms:write"]},
    "sandbox": {"kind": "test", "scopes": ["forms:read", "forms:write"]},
}


@pytest.mark.parametrize("name", KEYS)
async def test_a_key_meets_its_bounds_over_http(client: httpx.AsyncClient, name: str) -> None:
    beyond, own = await create_form(client), await create_form(client)
    members = {"name": "a key"} | KEYS[name]
    if name == "forms":
        members["allowed_forms"] = [own["id"]]
    key = (await client.post("/v1/api-keys", json=members)).json()["key"]
    client.headers["Authorization"] = f"Bearer {key}"
    hidden = await client.get(f"/v1/forms/{beyond['id']}")
    unknown = await client.get(f"/v1/forms/{new_id('frm', 0)}")
    assert (hidden.status_code, hidden.content) == (404, unknown.content)
    changed = await client.patch(f"/v1/forms/{beyond['id']}", json={"name": "x"})
    deleted = await client.delete(f"/v1/forms/{beyond['id']}")
    copied = await client.post(f"/v1/forms/{beyond['id']}/duplicate", json={})
    statuses = [answer.status_code for answer in (changed, deleted, copied)]
    assert statuses == [404, 404, 403 if name == "forms" else 404]
    explicit = {"name": "x", "environment": "production", "mode": "live"}
    refused = await client.post("/v1/forms", json=explicit)
    assert refused.status_code == 403
    assert refused.json()["type"].endswith("/insufficient-scope")
