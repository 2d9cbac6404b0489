"""Every kind of key, with every scope, and every role on every operation; and every object of
another account.

The table is generated from the operations: a new one is in it at once, and one that is not denied
to whom it must be fails here.
"""

from collections.abc import Set
from typing import Any

import httpx
import pytest

from backend.access import OWNERSHIP, RIGHTS, SESSION
from backend.accounts.roles import ROLES
from backend.management import OPERATIONS, Services
from backend.openapi.document import document
from backend.openapi.examples import ID_PREFIXES
from backend.operations import Operation
from backend.resources import path_parameters
from contracts.ids import new_id
from contracts.keys import KeyKind
from tests.backend.builders import Account, add_account, add_form, add_submission
from tests.backend.file_builders import add_file_row, new_key, put
from tests.backend.mail_builders import add_mail
from tests.backend.session_builders import bearer, join
from tests.backend.webhook_builders import CLOSED
from tests.support.clock import ManualClock

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.timeout(300),
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
]

PROTECTED = [operation for operation in OPERATIONS if operation.right is not None]
# What a key may be allowed to do: it has no session.
OF_KEYS = [operation for operation in PROTECTED if operation.right != SESSION]
SIGNING_OUT = {("DELETE", "/v1/auth/session"), ("DELETE", "/v1/auth/sessions")}
PATHS = document(OPERATIONS)["paths"]
UNKNOWN_MEMBER = {"a member that no body has": 1}
HOUR_SECONDS = 3_600.0
# A sandbox key sees no events but its own.
OVERRIDES = {("test", "audit:read", "GET", "/v1/audit-log/{event_id}"): (404, None)}


async def objects_of(
    client: httpx.AsyncClient, services: Services, owner: Account
) -> dict[str, str]:
    """One object of each kind in the account, all within the reach of every kind of key."""
    form = await add_form(services, owner, mode="test")
    submission = await add_submission(services, form)
    content = new_key()
    await put(services.files, content, b"%PDF")
    terms = {"scopes": ("forms:read",)}
    key, _ = await services.keys.create(owner.principal, "k", KeyKind.TEST, terms)
    email = f"{owner.principal.account_id}@example.com"
    member = {"email": email, "role": "viewer"}
    invited = await client.post("/v1/members", json=member, headers=owner.headers)
    environments = await client.get("/v1/environments", headers=owner.headers)
    events = await client.get(f"/v1/audit-log?target={form.id}", headers=owner.headers)
    webhook = await client.post(
        f"/v1/forms/{form.id}/webhooks", json={"url": CLOSED}, headers=owner.headers
    )
    tested = await client.post(f"/v1/webhooks/{webhook.json()['id']}/test", headers=owner.headers)
    made = {
        "form_id": form.id,
        "submission_id": submission,
        "file_id": await add_file_row(services, submission, object_key=content),
        "key_id": key.id,
        "member_id": invited.json()["id"],
        "session_id": (await join(services, owner)).session.session.id,
        "environment_id": next(
            item["id"] for item in environments.json()["data"] if item["name"] == "production"
        ),
        "event_id": events.json()["data"][0]["id"],
        "webhook_id": webhook.json()["id"],
        "mail_id": await add_mail(services, owner),
        "delivery_id": tested.json()["delivery_id"],
    }
    assert made.keys() >= ID_PREFIXES.keys() - {"account_id"}
    return made


async def call(
    client: httpx.AsyncClient, clock: ManualClock, operation: Operation, **request: Any
) -> httpx.Response:
    # Out of the way of the limits: another test is about them.
    clock.advance(2)
    path = operation.path.format(**request.pop("ids"))
    return await client.request(operation.method, path, **request)


def harmless(operation: Operation, ids: dict[str, str]) -> tuple[dict[str, Any], int]:
    """A request that changes nothing, and how it is answered to whoever has the right."""
    if operation.method == "GET":
        return {"ids": ids}, 200
    body = {"json": UNKNOWN_MEMBER} if operation.body is not None else {}
    is_refused_first = operation.body is not None or operation.takes_content
    return {"ids": absent(operation), **body}, 422 if is_refused_first else 404


def absent(operation: Operation) -> dict[str, str]:
    """Ids of nothing."""
    return {name: new_id(ID_PREFIXES[name], 1) for name in path_parameters(operation.path)}


KINDS = [
    (KeyKind.SUBMISSION, None),
    (KeyKind.MANAGEMENT, None),
    *(
        (kind, right)
        for kind in (KeyKind.MANAGEMENT, KeyKind.LIVE, KeyKind.TEST)
        for right in sorted(RIGHTS)
    ),
]


async def test_each_key_may_what_its_kind_and_scopes_say_and_nothing_else(
    anonymous: httpx.AsyncClient, services: Services, clock: ManualClock, account: Account
) -> None:
    ids = await objects_of(anonymous, services, account)
    found, expected = {}, {}
    for kind, right in KINDS:
        clock.advance(HOUR_SECONDS)
        terms = {} if right is None else {"scopes": (right,)}
        key, text = await services.keys.create(account.principal, "k", kind, terms)
        rights = {right} if right else RIGHTS if kind is KeyKind.MANAGEMENT else set()
        for operation in PROTECTED:
            request, allowed = harmless(operation, {**ids, "key_id": key.id})
            headers = {"Authorization": f"Bearer {text}"}
            answer = await call(anonymous, clock, operation, headers=headers, **request)
            where = (kind.value, right, operation.method, operation.path)
            found[where] = (answer.status_code, missing_scope(answer))
            is_allowed = operation.right in held(rights)
            expected[where] = (allowed, None) if is_allowed else (403, operation.right)
    assert found == expected | OVERRIDES


async def test_each_member_may_what_their_role_or_their_list_says_and_nothing_else(
    anonymous: httpx.AsyncClient, services: Services, clock: ManualClock, account: Account
) -> None:
    ids = await objects_of(anonymous, services, account)
    grants: list[tuple[str, str | None, frozenset[str]]] = [
        *((role, None, ROLES[role]) for role in ROLES),
        *(("custom", right, frozenset({right})) for right in sorted(RIGHTS)),
        ("custom", None, frozenset()),
    ]
    found, expected = {}, {}
    for role, right, rights in grants:
        listed = rights if role == "custom" else None
        headers = bearer(await join(services, account, role, rights=listed))
        for operation in PROTECTED:
            if (operation.method, operation.path) in SIGNING_OUT:
                continue
            request, allowed = harmless(operation, ids)
            answer = await call(anonymous, clock, operation, headers=headers, **request)
            where = (role, right, operation.method, operation.path)
            found[where] = (answer.status_code, missing_scope(answer))
            is_allowed = operation.right in held(rights) | {SESSION}
            expected[where] = (allowed, None) if is_allowed else (403, operation.right)
    assert found == expected


def held(rights: Set[str]) -> Set[str]:
    """The rights, and what comes with having them all."""
    return rights | {OWNERSHIP} if rights >= RIGHTS else rights


def missing_scope(answer: httpx.Response) -> str | None:
    """The scope that the answer says is missing."""
    if answer.status_code != 403:
        return None
    problem = answer.json()
    assert problem["type"].endswith("/insufficient-scope"), problem
    assert problem["scope"] in problem["detail"]
    return str(problem["scope"])


async def test_anothers_object_is_missing_on_every_route(
    anonymous: httpx.AsyncClient, services: Services, clock: ManualClock, account: Account
) -> None:
    other = await add_account(services)
    theirs = await objects_of(anonymous, services, other)
    tried = 0
    for operation in OF_KEYS:
        if not path_parameters(operation.path):
            continue
        request = example_of(operation, account)
        answers = [
            await call(anonymous, clock, operation, ids=ids, **request)
            for ids in (theirs, absent(operation))
        ]
        where = f"{operation.method} {operation.path}"
        assert [answer.status_code for answer in answers] == [404, 404], where
        assert answers[0].content == answers[1].content, where
        tried += 1
    assert tried > 20


def example_of(operation: Operation, account: Account) -> dict[str, Any]:
    """Query and body of a request of the account, from the document's examples."""
    described = PATHS[operation.path][operation.method.lower()]
    query = {
        parameter["name"]: parameter["schema"]["examples"][0]
        for parameter in described["parameters"]
        if parameter["in"] == "query" and parameter.get("required")
    }
    if "requestBody" not in described:
        return {"params": query, "headers": account.headers}
    [(media_type, content), *_] = described["requestBody"]["content"].items()
    headers = {**account.headers, "Content-Type": media_type}
    body = {"content": b""} if operation.takes_content else {"json": content["example"]}
    return {"params": query, "headers": headers, **body}


async def test_ones_own_objects_are_there(
    anonymous: httpx.AsyncClient, services: Services, clock: ManualClock, account: Account
) -> None:
    """Otherwise the test above would pass for a service that finds nothing."""
    ids = await objects_of(anonymous, services, account)
    for operation in OF_KEYS:
        if operation.method == "GET":
            answer = await call(anonymous, clock, operation, ids=ids, headers=account.headers)
            assert answer.status_code == 200, operation.path
