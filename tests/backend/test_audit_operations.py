"""Every operation that changes or exports something leaves its event."""

from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from backend.audit.actions import MEANINGS
from backend.management import OPERATIONS, Services
from backend.operations import UNSAFE_METHODS
from tests.backend.builders import Account, add_form, add_submission
from tests.backend.session_builders import join, link_token
from tests.backend.webhook_builders import CLOSED, add_delivery, create_webhook

pytestmark = pytest.mark.asyncio


@dataclass(frozen=True)
class Attempt:
    """How to perform an operation. ``{names}`` in texts of the body are those of ``prepared``.
    ``file`` is the query of one that takes a file, which is empty. What ``is_of_member`` takes the
    session of one. ``also`` are further events that it leaves."""

    operation: str
    action: str
    body: Any = None
    actor: str = "key"
    file: dict[str, str] | None = None
    is_of_member: bool = False
    also: tuple[str, ...] = ()


EMPTY_FILE = {
    "position": "0",
    "field": "cv",
    "name": "cv.pdf",
    "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
}
ATTEMPTS = (
    Attempt("POST /v1/forms", "form.created", {"name": "New"}),
    Attempt("PATCH /v1/forms/{form_id}", "form.changed", {"name": "Other"}),
    Attempt("DELETE /v1/forms/{form_id}", "form.deleted"),
    Attempt("POST /v1/forms/{form_id}/duplicate", "form.duplicated", {}),
    Attempt("POST /v1/forms/{form_id}/probe", "form.probed"),
    Attempt(
        "POST /v1/forms/{form_id}/submissions/import",
        "submissions.imported",
        {
            "source": "formspree",
            "submissions": [
                {
                    "reference": "1",
                    "received_at": "2026-01-01T00:00:00Z",
                    "status": "received",
                    "payload": {"email": "ada@example.com"},
                }
            ],
        },
    ),
    Attempt("POST /v1/submissions/{submission_id}/files", "submissions.imported", file=EMPTY_FILE),
    Attempt("GET /v1/forms/{form_id}/submissions.csv", "submissions.exported"),
    Attempt("GET /v1/forms/{form_id}/submissions.json", "submissions.exported"),
    Attempt("PATCH /v1/submissions/{submission_id}", "submission.changed", {"status": "spam"}),
    Attempt("DELETE /v1/submissions/{submission_id}", "submission.deleted"),
    Attempt(
        "POST /v1/submissions/bulk",
        "submissions.deleted",
        {"action": "delete", "ids": ["{submission_id}"]},
    ),
    Attempt(
        "POST /v1/submissions/bulk",
        "submissions.changed",
        {"action": "mark_spam", "ids": ["{submission_id}"]},
    ),
    Attempt("POST /v1/api-keys", "key.created", {"name": "New", "kind": "submission"}),
    Attempt("PATCH /v1/api-keys/{key_id}", "key.changed", {"name": "Other"}),
    Attempt("DELETE /v1/api-keys/{key_id}", "key.revoked"),
    Attempt("POST /v1/api-keys/{key_id}/rotate", "key.rotated", {}),
    Attempt("POST /v1/keys/leaked", "key.leaked", {"key": "{key}"}),
    Attempt("POST /v1/forms/{form_id}/webhooks", "webhook.created", {"url": CLOSED}),
    Attempt("PATCH /v1/webhooks/{webhook_id}", "webhook.changed", {"enabled": False}),
    Attempt("DELETE /v1/webhooks/{webhook_id}", "webhook.deleted"),
    Attempt("POST /v1/webhooks/{webhook_id}/rotate-secret", "webhook.secret_rotated"),
    Attempt("POST /v1/webhooks/{webhook_id}/test", "webhook.tested"),
    Attempt(
        "POST /v1/webhooks/{webhook_id}/replay",
        "delivery.replayed",
        {"since": "2020-01-01T00:00:00Z", "which": "all"},
    ),
    Attempt("POST /v1/deliveries/replay", "delivery.replayed", {"ids": ["{delivery_id}"]}),
    Attempt("POST /v1/deliveries/{delivery_id}/replay", "delivery.replayed"),
    Attempt("PATCH /v1/account", "account.changed", {"name": "Other"}),
    Attempt("POST /v1/members", "member.invited", {"email": "b@example.com", "role": "viewer"}),
    Attempt("PATCH /v1/members/{member_id}", "member.changed", {"role": "editor"}),
    Attempt("DELETE /v1/members/{member_id}", "member.removed"),
    Attempt("POST /v1/members/{member_id}/invite", "member.invited"),
    Attempt(
        "POST /v1/invitations/accept",
        "member.joined",
        {"token": "{invitation}"},
        "user",
        also=("session.started",),
    ),
    Attempt("POST /v1/auth/session", "session.started", {"token": "{link}"}, "user"),
    Attempt("DELETE /v1/auth/session", "session.ended", actor="user", is_of_member=True),
    Attempt("DELETE /v1/auth/sessions", "sessions.ended", actor="user", is_of_member=True),
    Attempt(
        "DELETE /v1/auth/sessions/{session_id}", "session.ended", actor="user", is_of_member=True
    ),
    Attempt("POST /v1/environments", "environment.created", {"name": "preview"}),
    Attempt("DELETE /v1/environments/{environment_id}", "environment.removed"),
    Attempt("GET /v1/audit-log.csv", "audit.exported"),
    Attempt("GET /v1/audit-log.json", "audit.exported"),
)
IMPORTED = '[["import","from formspree",0]]'
RIGHTS_OF = {
    f"{operation.method} {operation.path}": operation.right
    for operation in OPERATIONS
    if operation.method in UNSAFE_METHODS or operation.path.endswith((".csv", ".json"))
}
"""The operations that must leave an event, and the right that each needs."""
# It leaves its event behind the answer: tests of signing in are about it.
del RIGHTS_OF["POST /v1/auth/magic-link"]
# Whoever has the link in a mail is nobody that an event could name: tests of mail are about it.
del RIGHTS_OF["POST /v1/unsubscribe"]


async def prepared(
    client: httpx.AsyncClient, services: Services, account: Account
) -> dict[str, str]:
    """One object of each kind: their ids, by the names of the path parameters, and secrets."""
    form = await add_form(services, account)
    joined = await join(services, account)
    weak = {"name": "weak", "kind": "management", "scopes": ["profile:read"]}
    created = {
        path: (await client.post(f"/v1/{path}", json=body)).json()
        for path, body in {
            "api-keys": {"name": "old", "kind": "submission"},
            "members": {"email": "a@example.com", "role": "viewer"},
            "environments": {"name": "qa"},
        }.items()
    }
    submission_id = await add_submission(services, form, trace=IMPORTED)
    webhook = await create_webhook(client, form.id)
    return {
        "form_id": form.id,
        "submission_id": submission_id,
        "key_id": created["api-keys"]["id"],
        "key": created["api-keys"]["key"],
        "weak_key": (await client.post("/v1/api-keys", json=weak)).json()["key"],
        "member_id": created["members"]["id"],
        "invitation": created["members"]["invitation"],
        "environment_id": created["environments"]["id"],
        "session_id": joined.session.session.id,
        "user_id": joined.member.id,
        "session": joined.session.token,
        "link": await link_token(services, joined.member.email),
        "webhook_id": webhook["id"],
        "delivery_id": await add_delivery(services, account, webhook, submission_id),
    }


def filled(template: Any, names: dict[str, str]) -> Any:
    """The template with the names in its texts replaced."""
    if isinstance(template, dict):
        return {name: filled(value, names) for name, value in template.items()}
    if isinstance(template, list):
        return [filled(value, names) for value in template]
    return template.format(**names) if isinstance(template, str) else template


async def perform(
    client: httpx.AsyncClient, attempt: Attempt, names: dict[str, str], **headers: str
) -> httpx.Response:
    method, path = filled(attempt.operation, names).split(" ")
    if attempt.file is not None:
        headers |= {"Content-Type": "application/octet-stream"}
        return await client.request(method, path, params=attempt.file, headers=headers)
    if attempt.body is None:
        return await client.request(method, path, headers=headers)
    return await client.request(method, path, headers=headers, json=filled(attempt.body, names))


async def events(client: httpx.AsyncClient, account: Account) -> list[dict[str, Any]]:
    answer = await client.get("/v1/audit-log", headers=account.headers)
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


async def test_every_operation_that_must_leave_an_event_is_tried() -> None:
    assert {attempt.operation for attempt in ATTEMPTS} == set(RIGHTS_OF)


async def test_every_action_is_that_of_an_operation_or_of_the_server_itself() -> None:
    by_the_server = {
        "account.created",
        "credential.refused",
        "form.unsubscribed",
        "member.link_made",
        "member.linked",
        "form.expired_submissions_removed",
        "webhook.disabled",
    }
    assert {attempt.action for attempt in ATTEMPTS} | by_the_server == set(MEANINGS)


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: attempt.action)
async def test_an_operation_leaves_its_event_and_one_that_was_refused_leaves_none(
    client: httpx.AsyncClient, services: Services, account: Account, attempt: Attempt
) -> None:
    names = await prepared(client, services, account)
    before = await events(client, account)
    services.clock.advance(1)  # type: ignore[attr-defined]
    if RIGHTS_OF[attempt.operation] is not None:
        weak = {"Authorization": f"Bearer {names['weak_key']}"}
        assert (await perform(client, attempt, names, **weak)).status_code == 403
        assert await events(client, account) == before
    session = {"Authorization": f"Bearer {names['session']}"} if attempt.is_of_member else {}
    answer = await perform(client, attempt, names, **session)
    assert answer.is_success, answer.text
    after = await events(client, account)
    left = {event["action"]: event for event in after[: 1 + len(attempt.also)]}
    assert after[len(left) :] == before
    assert left.keys() == {attempt.action, *attempt.also}
    event = left[attempt.action]
    assert event["outcome"] == "succeeded"
    assert event["actor"]["kind"] == attempt.actor
    assert event["actor"]["id"] is not None
    assert event["target"] is None or event["target"] in answer.text + str(names)
