"""Files of imported submissions."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from backend.management import Services
from backend.tables import audit_log
from tests.backend.builders import Account, add_account, add_form, add_submission, create_form
from tests.backend.file_builders import files_below

pytestmark = pytest.mark.asyncio
CONTENT = b"%PDF-1.7 \x00\xff"
MEGABYTE = 1024 * 1024


async def imported(client: httpx.AsyncClient) -> tuple[str, str]:
    """A form and a submission that was imported into it."""
    form = await create_form(client)
    item = {"reference": "1", "received_at": "2024-03-01T09:30:00Z", "payload": {}}
    body = {"source": "formflow", "submissions": [item]}
    answer = await client.post(f"/v1/forms/{form['id']}/submissions/import", json=body)
    return form["id"], answer.raise_for_status().json()["ids"][0]


async def send(
    client: httpx.AsyncClient,
    submission_id: str,
    content: bytes | AsyncIterator[bytes] = CONTENT,
    **said: Any,
) -> httpx.Response:
    digest = hashlib.sha256(content if isinstance(content, bytes) else b"").hexdigest()
    query: dict[str, Any] = {"position": 0, "field": "cv", "name": "cv.pdf", "sha256": digest}
    query |= said
    headers = {"Content-Type": "application/octet-stream"}
    path = f"/v1/submissions/{submission_id}/files"
    return await client.post(path, params=query, content=content, headers=headers)


async def files_of(client: httpx.AsyncClient, submission_id: str) -> list[dict[str, Any]]:
    answer = await client.get(f"/v1/submissions/{submission_id}")
    found: list[dict[str, Any]] = answer.raise_for_status().json()["files"]
    return found


def stored(services: Services) -> list[Path]:
    return files_below(services.settings.data_dir / "files")


async def test_a_file_is_there_as_if_it_had_been_posted(client: httpx.AsyncClient) -> None:
    _, id = await imported(client)
    second = await send(client, id, position=1, field="übrig", name="b.txt")
    answer = await send(client, id, content_type="application/pdf", name="../a\u202e/Zeugnis ä.pdf")
    assert answer.status_code == second.status_code == 200, answer.text
    files = await files_of(client, id)
    assert [file["id"] for file in files] == [answer.json()["id"], second.json()["id"]]
    assert {
        name: files[0][name] for name in ("field", "name", "size", "content_type", "sha256")
    } == {
        "field": "cv",
        "name": "Zeugnis ä.pdf",
        "size": len(CONTENT),
        "content_type": "application/pdf",
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
    }
    assert files[1]["content_type"] == "application/octet-stream"
    got = await client.get(f"/v1/submissions/{id}/files/{files[0]['id']}")
    assert got.content == CONTENT


async def test_the_same_file_again_or_at_once_is_stored_once_and_leaves_nothing_behind(
    client: httpx.AsyncClient, services: Services
) -> None:
    form_id, id = await imported(client)
    answers = await asyncio.gather(*(send(client, id) for _ in range(4)))
    answers.append(await send(client, id))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(await files_of(client, id)) == len(stored(services)) == 1
    async with services.database.read() as connection:
        events = await connection.execute(
            select(audit_log.c.target, audit_log.c.details)
            .where(audit_log.c.action == "submissions.imported")
            .order_by(audit_log.c.id)
        )
        assert set(events.all()) == {
            (form_id, '{"source":"formflow","count":1}'),
            (form_id, '{"files":1}'),
        }


@pytest.mark.parametrize("other", [{"content": b"other"}, {"name": "b.pdf"}, {"field": "b"}])
async def test_another_file_at_the_same_position_is_a_conflict(
    client: httpx.AsyncClient, services: Services, other: dict[str, Any]
) -> None:
    _, id = await imported(client)
    first = await send(client, id)
    assert (await send(client, id, **other)).status_code == 409
    assert [file["id"] for file in await files_of(client, id)] == [first.json()["id"]]
    assert len(stored(services)) == 1


async def test_what_was_posted_takes_no_files(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    id = await add_submission(services, await add_form(services, account))
    answer = await send(client, id)
    assert answer.status_code == 409
    assert "imported" in answer.json()["detail"]
    assert stored(services) == []


async def test_a_file_that_is_not_what_it_is_said_to_be_is_not_stored(
    client: httpx.AsyncClient, services: Services
) -> None:
    _, id = await imported(client)
    answer = await send(client, id, sha256="0" * 64)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "sha256"
    assert await files_of(client, id) == []
    assert stored(services) == []


async def test_the_plan_limits_a_file_whether_its_length_is_said_or_not(
    anonymous: httpx.AsyncClient, services: Services
) -> None:
    account = await add_account(services, "starter")
    anonymous.headers.update(account.headers)
    _, id = await imported(anonymous)
    most = services.plans.get("starter").file_bytes

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(most // MEGABYTE + 1):
            yield bytes(MEGABYTE)

    for content in (bytes(most + 1), pieces()):
        answer = await send(anonymous, id, content)
        assert (answer.status_code, answer.json()["limit"]) == (413, most)
    assert stored(services) == []
    assert (await send(anonymous, id, bytes(most))).status_code == 200


async def test_a_plan_without_files_takes_none(
    anonymous: httpx.AsyncClient, services: Services
) -> None:
    account = await add_account(services, "free")
    anonymous.headers.update(account.headers)
    _, id = await imported(anonymous)
    answer = await send(anonymous, id)
    assert answer.status_code == 413
    assert answer.json()["type"].endswith("/uploads-not-allowed")


@pytest.mark.parametrize(
    "said",
    [
        {"position": -1},
        {"position": 100},
        {"field": "a\0"},
        {"name": ""},
        {"name": "a\nb"},
        {"content_type": "text/plain; charset=utf-8"},
        {"sha256": "A" * 64},
        {"size": 4},
    ],
)
async def test_a_bad_description_is_named(client: httpx.AsyncClient, said: dict[str, Any]) -> None:
    _, id = await imported(client)
    answer = await send(client, id, **said)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == next(iter(said))


async def test_a_body_of_another_type_is_refused(client: httpx.AsyncClient) -> None:
    _, id = await imported(client)
    query = {"position": "0", "field": "cv", "name": "cv.pdf", "sha256": "0" * 64}
    answer = await client.post(f"/v1/submissions/{id}/files", params=query, json={})
    assert answer.status_code == 415


async def test_what_is_beyond_reach_is_missing(
    client: httpx.AsyncClient, services: Services
) -> None:
    other = await add_account(services)
    foreign = await add_submission(
        services, await add_form(services, other), trace='[["import","",0]]'
    )
    _, gone = await imported(client)
    (await client.delete(f"/v1/submissions/{gone}")).raise_for_status()
    for id in (foreign, gone, "sub_nonsense"):
        assert (await send(client, id)).status_code == 404
    assert stored(services) == []


async def test_a_deleted_submission_takes_its_files_along_and_can_have_them_again(
    client: httpx.AsyncClient, services: Services
) -> None:
    form_id, id = await imported(client)
    await send(client, id)
    (await client.delete(f"/v1/submissions/{id}")).raise_for_status()
    assert stored(services) == []
    item = {"reference": "1", "received_at": "2024-03-01T09:30:00Z", "payload": {}}
    body = {"source": "formflow", "submissions": [item]}
    again = await client.post(f"/v1/forms/{form_id}/submissions/import", json=body)
    assert again.json()["ids"] == [id]
    assert (await send(client, id)).status_code == 200
    assert len(stored(services)) == 1


async def test_an_idempotency_key_tells_another_file(client: httpx.AsyncClient) -> None:
    _, id = await imported(client)
    client.headers["Idempotency-Key"] = "first"
    first, again, other = [await send(client, id, content) for content in (b"a", b"a", b"b")]
    assert first.json() == again.json() == other.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Mismatch" not in again.headers
    assert other.headers["Idempotency-Mismatch"] == "true"
