"""Files: the way in from gateways, downloads and links, deletion, the sweep."""

import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import insert, select
from starlette.applications import Starlette

from backend.api import finish_app
from backend.changes import create_state
from backend.db import Database
from backend.internal.routes import internal_routes
from backend.management import Services, create_services
from backend.removal.service import BATCH
from backend.sweeper import Sweeper
from backend.tables import files, idempotency_keys
from contracts import internal
from contracts.ids import new_id
from contracts.runtime.clock import SystemClock
from contracts.runtime.settings import load_settings
from contracts.small_files import MESSAGE_BYTES_MAX, SmallFile, encode_files
from tests.backend.builders import Account, add_account, add_form, add_submission
from tests.backend.conftest import OPERATOR_TOKEN
from tests.backend.file_builders import add_file_row, files_below, get, new_key, put
from tests.support.clock import ManualClock

TOKEN = "an-internal-token-for-tests"
SHA256 = hashlib.sha256(b"data").hexdigest()
pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def services(
    database_url: str, clock: ManualClock, tmp_path: Path
) -> AsyncIterator[Services]:
    settings = load_settings(
        environ={},
        database_url=database_url,
        data_dir=str(tmp_path),
        internal_token=TOKEN,
        public_url="https://forms.example",
    )
    database = Database(settings.sqlalchemy_url())
    async with database.write() as connection:
        await create_state(connection)
    yield create_services(settings, clock, database, OPERATOR_TOKEN, hash_cost=4)
    await database.close()


@pytest_asyncio.fixture
async def gateway(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the internal surface."""
    app = finish_app(
        Starlette(routes=internal_routes(services, TOKEN)), "https://problems", services.clock
    )
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://backend",
        headers={"authorization": f"Bearer {TOKEN}"},
    ) as client:
        yield client


async def add_file(
    services: Services, submission_id: str, data: bytes = b"data", **members: Any
) -> str:
    """Stores a file and its row; returns its id."""
    key: str = members.pop("object_key", new_key())
    await put(services.files, key, data)
    return await add_file_row(
        services, submission_id, **{"object_key": key, "size": len(data)} | members
    )


async def count_rows(services: Services, table: Any) -> int:
    async with services.database.read() as connection:
        return len((await connection.execute(select(table))).all())


@pytest.mark.parametrize("size", [0, 100_000])
async def test_a_gateways_file_is_stored(
    gateway: httpx.AsyncClient, services: Services, size: int
) -> None:
    key, data = new_key("a b#é.txt"), os.urandom(size)
    headers = {"x-content-sha256": hashlib.sha256(data).hexdigest()}
    for _ in range(2):
        path = f"{internal.FILES}/{quote(key)}"
        assert (await gateway.put(path, content=data, headers=headers)).status_code == 200
    assert await get(services.files, key) == data


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("key", "headers"),
    [
        ("{key}", {"x-content-sha256": "0" * 64}),
        ("{key}", {"x-content-sha256": SHA256.upper()}),
        ("{key}", {"x-content-sha256": ""}),
        ("{key}", {"content-length": "5"}),
        ("{key}", {"content-length": "3"}),
        ("{key}", {"content-length": "x"}),
        ("backup.tar", {}),
        ("%2e%2e/%2e%2e/x", {}),
        ("{key}%2f..%2f..%2fx", {}),
    ],
)
async def test_a_gateways_file_that_is_not_as_announced_is_refused(
    gateway: httpx.AsyncClient,
    services: Services,
    tmp_path: Path,
    key: str,
    headers: dict[str, str],
) -> None:
    path = f"{internal.FILES}/{key.format(key=new_key())}"
    headers = {"x-content-sha256": SHA256} | headers
    assert (await gateway.put(path, content=b"data", headers=headers)).status_code == 400
    assert files_below(tmp_path / "files") == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_only_a_gateway_may_put_a_file(gateway: httpx.AsyncClient) -> None:
    gateway.headers["authorization"] = "Bearer wrong"
    assert (await gateway.put(f"{internal.FILES}/{new_key()}")).status_code == 404


def small(data: bytes, key: str | None = None, sha256: str | None = None) -> SmallFile:
    return SmallFile(key or new_key(), sha256 or hashlib.sha256(data).hexdigest(), data)


async def test_a_gateways_small_files_are_stored_together(
    gateway: httpx.AsyncClient, services: Services
) -> None:
    files = [small(os.urandom(size)) for size in (0, 1, 65_536)] + [small(b"\n", new_key("é \n"))]
    for _ in range(2):
        answer = await gateway.post(internal.FILES, content=encode_files(files))
        assert answer.status_code == 200
    for file in files:
        assert await get(services.files, file.object_key) == file.data


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"[]",
        b'{"a":1}\n',
        b"[[1]]\n",
        encode_files([small(b"data")])[:-1],
        encode_files([small(b"data")]) + b"x",
        encode_files([small(b"x" * 65_537)]),
        encode_files([small(b"x")] * 65),
        b'[["%s","%s",-1],["%s","%s",1]]\n' % ((new_key().encode(), SHA256.encode()) * 2),
        encode_files([small(b"x", "backup.tar")]),
        encode_files([small(b"x", "../../x")]),
        encode_files([small(b"x", new_key() + "/../../x")]),
        encode_files([small(b"data", sha256=SHA256.upper())]),
        b"x" * (MESSAGE_BYTES_MAX + 1),
    ],
    ids=range(14),
)
async def test_small_files_that_are_not_as_announced_are_refused(
    gateway: httpx.AsyncClient, tmp_path: Path, message: bytes
) -> None:
    assert (await gateway.post(internal.FILES, content=message)).status_code == 400
    assert files_below(tmp_path / "files") == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_only_a_gateway_may_put_small_files(gateway: httpx.AsyncClient) -> None:
    gateway.headers["authorization"] = "Bearer wrong"
    answer = await gateway.post(internal.FILES, content=encode_files([small(b"x")]))
    assert answer.status_code == 404


async def test_a_submission_tells_its_files_in_order(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    without = await add_submission(services, form)
    id = await add_submission(services, form)
    second = await add_file(services, id, b"12345", position=1, field="photo", name="é.png")
    first = await add_file(services, id)
    [listed, bare] = (await client.get(f"/v1/forms/{form.id}/submissions")).json()["data"]
    assert [file["id"] for file in listed["files"]] == [first, second]
    assert (bare["id"], bare["files"]) == (without, [])
    read = (await client.get(f"/v1/submissions/{id}")).json()
    assert read == listed
    assert read["files"][1] | {"url": ""} == {
        "id": second,
        "field": "photo",
        "name": "é.png",
        "size": 5,
        "content_type": "application/pdf",
        "sha256": "0" * 64,
        "url": "",
    }
    start = f"https://forms.example/v1/submissions/{id}/files/{first}?expires="
    assert read["files"][0]["url"].startswith(start)


async def test_a_download_is_saved_and_never_run(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    id = await add_submission(services, await add_form(services, account))
    data = os.urandom(700_000)
    file_id = await add_file(
        services, id, data, name='naïve "x"\\%41.html', content_type="text/html"
    )
    answer = await client.get(f"/v1/submissions/{id}/files/{file_id}")
    assert answer.status_code == 200
    assert answer.content == data
    expected = {
        "content-type": "text/html",
        "content-length": "700000",
        "content-disposition": 'attachment; filename="na_ve _x___41.html"; '
        "filename*=UTF-8''na%C3%AFve%20%22x%22%5C%2541.html",
        "x-content-type-options": "nosniff",
        "content-security-policy": "sandbox; default-src 'none'",
        "cache-control": "no-store",
    }
    assert expected.items() <= dict(answer.headers).items()


async def test_a_file_is_its_accounts_and_its_submissions_only(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    id, other = [await add_submission(services, form) for _ in range(2)]
    file_id = await add_file(services, id)
    stranger = await add_account(services)
    path = f"/v1/submissions/{id}/files/{file_id}"
    assert (await client.get(path)).status_code == 200
    assert (await client.get(path, headers=stranger.headers)).status_code == 404
    assert (await client.get(path, headers={"Authorization": ""})).status_code == 401
    for wrong in (
        f"/v1/submissions/{other}/files/{file_id}",
        f"/v1/submissions/{id}/files/{new_id('fil', 1)}",
        f"/v1/submissions/{id}/files/x%00",
        f"/v1/submissions/x%00/files/{file_id}",
    ):
        assert (await client.get(wrong)).status_code == 404


async def link_of(client: httpx.AsyncClient, submission_id: str) -> httpx.URL:
    document = (await client.get(f"/v1/submissions/{submission_id}")).json()
    return httpx.URL(document["files"][0]["url"])


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_link_works_without_a_credential_for_a_quarter_of_an_hour(
    client: httpx.AsyncClient, services: Services, account: Account, clock: ManualClock
) -> None:
    id = await add_submission(services, await add_form(services, account))
    await add_file(services, id, b"data")
    link = await link_of(client, id)
    del client.headers["Authorization"]
    clock.advance(14 * 60 + 58)
    assert (await client.get(link.raw_path.decode())).content == b"data"
    clock.advance(2)
    answer = await client.get(link.raw_path.decode())
    assert (answer.status_code, answer.json()["title"]) == (404, "There is nothing here")


async def test_a_link_ends_with_the_form_before_all_of_it_is_removed(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    for _ in range(BATCH):
        await add_submission(services, form)
    id = await add_submission(services, form)
    await add_file(services, id, b"data")
    link = await link_of(client, id)
    assert (await client.delete(f"/v1/forms/{form.id}")).status_code == 204
    async with services.database.read() as connection:
        assert (await connection.execute(select(files.c.id))).all()
    assert (await client.get(link.raw_path.decode())).status_code == 404


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_link_that_was_changed_is_worth_nothing_even_with_a_credential(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    id, other = [await add_submission(services, form) for _ in range(2)]
    for submission_id in (id, other):
        await add_file(services, submission_id)
    link, foreign = await link_of(client, id), await link_of(client, other)
    expires = int(link.params["expires"])
    for changed in (
        link.copy_set_param("expires", expires + 1),
        link.copy_set_param("expires", f"0{expires}"),
        link.copy_set_param("expires", "x"),
        link.copy_set_param("expires", "١٢"),
        link.copy_set_param("signature", foreign.params["signature"]),
        link.copy_set_param("signature", ""),
        link.copy_set_param("signature", "é"),
        link.copy_remove_param("expires"),
        link.copy_remove_param("signature"),
        foreign.copy_with(query=link.query),
    ):
        assert (await client.get(changed.raw_path.decode())).status_code == 404
    assert (await client.get(link.raw_path.decode())).status_code == 200


async def test_with_a_submission_its_files_go(
    client: httpx.AsyncClient, services: Services, account: Account, tmp_path: Path
) -> None:
    form = await add_form(services, account)
    id, other = [await add_submission(services, form) for _ in range(2)]
    for submission_id in (id, other):
        await add_file(services, submission_id)
    stranger = await add_account(services)
    path = f"/v1/submissions/{id}"
    assert (await client.delete(path, headers=stranger.headers)).status_code == 404
    assert len(files_below(tmp_path / "files")) == 2
    assert (await client.delete(path)).status_code == 204
    assert len(files_below(tmp_path / "files")) == 1
    assert await count_rows(services, files) == 1


async def test_a_submission_goes_even_if_its_files_cannot_be_reached(
    client: httpx.AsyncClient, services: Services, account: Account, tmp_path: Path
) -> None:
    id = await add_submission(services, await add_form(services, account))
    await add_file(services, id)
    (tmp_path / "files").rename(tmp_path / "away")
    (tmp_path / "files").touch()
    assert (await client.delete(f"/v1/submissions/{id}")).status_code == 204
    assert await count_rows(services, files) == 0


async def test_deleting_a_form_deletes_its_files_and_no_others(
    client: httpx.AsyncClient, services: Services, account: Account, tmp_path: Path
) -> None:
    form, other = [await add_form(services, account) for _ in range(2)]
    for owner in (form, form, other):
        await add_file(services, await add_submission(services, owner))
    assert (await client.delete(f"/v1/forms/{form.id}")).status_code == 204
    assert await count_rows(services, files) == 1
    assert len(files_below(tmp_path / "files")) == 1


async def test_a_file_that_has_vanished_is_not_found(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    id = await add_submission(services, await add_form(services, account))
    key = new_key()
    file_id = await add_file(services, id, object_key=key)
    await services.files.delete([key])
    assert (await client.get(f"/v1/submissions/{id}/files/{file_id}")).status_code == 404


async def test_the_sweep_removes_old_orphans_and_nothing_else(
    services: Services, account: Account
) -> None:
    store = services.files
    id = await add_submission(services, await add_form(services, account))
    kept, orphan, foreign = new_key("kept"), new_key("orphan"), "backups/2026.tar"
    await add_file(services, id, object_key=kept)
    for key in (kept, orphan, foreign):
        await put(store, key, b"x")
    clock = ManualClock(SystemClock().now_ms())
    sweeper = Sweeper(services.database, store, clock)
    clock.advance(3500)
    assert await sweeper.sweep_files() == 0
    assert await get(store, orphan) == b"x"
    clock.advance(200)
    await sweeper.sweep()
    assert [await get(store, key) for key in (kept, orphan, foreign)] == [b"x", None, b"x"]


async def test_the_sweep_removes_expired_idempotency_keys(
    services: Services, account: Account, clock: ManualClock
) -> None:
    form = await add_form(services, account)
    rows = [
        {
            "form_id": form.id,
            "key": f"key-{number}",
            "submission_id": "sub_1",
            "fingerprint": "",
            "received_at": 0,
            "expires_at": clock.now_ms() + (1 if number == 0 else -1),
        }
        for number in range(1_501)
    ]
    async with services.database.write() as connection:
        await connection.execute(insert(idempotency_keys), rows)
    sweeper = Sweeper(services.database, services.files, clock)
    assert await sweeper.sweep_keys() == 1_500
    assert await count_rows(services, idempotency_keys) == 1
