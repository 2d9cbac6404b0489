"""Accounts, keys, forms and submissions for backend tests."""

from dataclasses import dataclass
from typing import Any

import httpx
import orjson
from sqlalchemy import insert

from backend.access import RIGHTS, Principal
from backend.accounts.store import insert_account
from backend.forms.store import FormRow
from backend.management import Services
from backend.tables import submissions
from contracts.ids import new_id
from contracts.keys import KeyKind


@dataclass(frozen=True)
class Account:
    """An account with a management key."""

    principal: Principal
    key: str
    headers: dict[str, str]


async def add_account(services: Services, plan: str = "selfhost") -> Account:
    now_ms = services.clock.now_ms()
    principal = Principal(new_id("acc", now_ms), None, RIGHTS)
    async with services.database.write() as connection:
        await insert_account(connection, principal.account_id, "Test", plan, now_ms)
    _, text = await services.keys.create(principal, "test", KeyKind.MANAGEMENT)
    return Account(principal, text, {"Authorization": f"Bearer {text}"})


async def add_form(services: Services, account: Account, **members: Any) -> FormRow:
    return await services.forms.create(account.principal, {"name": "Contact"} | members)


async def add_submission(services: Services, form: FormRow, **members: Any) -> str:
    """Stores a submission a second after the last one; returns its id."""
    services.clock.advance(1)  # type: ignore[attr-defined]
    now_ms = services.clock.now_ms()
    payload = members.pop("payload", {"email": "ada@example.com"})
    row = {
        "id": new_id("sub", now_ms),
        "form_id": form.id,
        "received_at": now_ms,
        "status": "received",
        "payload": payload if isinstance(payload, str) else orjson.dumps(payload).decode(),
        "meta": '{"ip":"192.0.2.1"}',
        "trace": "[]",
        "charged": 1,
        "key_id": None,
    } | members
    async with services.database.write() as connection:
        await connection.execute(insert(submissions).values(row))
    return str(row["id"])


async def create_form(client: httpx.AsyncClient, **members: Any) -> dict[str, Any]:
    """Creates a form through the API."""
    answer = await client.post("/v1/forms", json={"name": "Contact"} | members)
    assert answer.status_code == 201, answer.text
    document: dict[str, Any] = answer.json()
    return document


async def create_key(client: httpx.AsyncClient, kind: str = "submission") -> dict[str, Any]:
    """Creates a key through the API."""
    answer = await client.post("/v1/api-keys", json={"name": "a key", "kind": kind})
    assert answer.status_code == 201, answer.text
    document: dict[str, Any] = answer.json()
    return document
