import csv
import io
import tracemalloc

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert, select

from backend.forms.store import FormRow
from backend.management import Services
from backend.submissions import export, service
from backend.submissions.export import encode_rows
from backend.submissions.store import Filter
from backend.tables import audit_log, submissions
from contracts.ids import new_id
from tests.backend.builders import Account, add_form, add_submission

pytestmark = pytest.mark.asyncio


async def download(client: httpx.AsyncClient, form: FormRow) -> list[list[str]]:
    answer = await client.get(f"/v1/forms/{form.id}/submissions.csv")
    assert answer.status_code == 200, answer.text
    return list(csv.reader(io.StringIO(answer.content.decode(), newline="")))


async def test_an_export_has_a_column_per_field_in_order_of_appearance(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    first = await add_submission(services, form, payload={"name": "Ada", "topic": ["a", "b"]})
    second = await add_submission(services, form, payload={"age": "7"}, status="spam")
    assert await download(client, form) == [
        ["id", "received_at", "status", "name", "topic", "age"],
        [first, "2026-05-28T20:26:41.000Z", "received", "Ada", "a\nb", ""],
        [second, "2026-05-28T20:26:42.000Z", "spam", "", "", "7"],
    ]


async def test_an_export_is_an_attachment_that_is_not_sniffed(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    form = await add_form(services, account, slug="mine")
    answer = await client.get(f"/v1/forms/{form.id}/submissions.csv")
    expected = {
        "content-type": "text/csv; charset=utf-8",
        "content-disposition": 'attachment; filename="mine-submissions.csv"; '
        "filename*=UTF-8''mine-submissions.csv",
        "x-content-type-options": "nosniff",
        "cache-control": "no-store",
    }
    assert expected.items() <= dict(answer.headers).items()
    assert answer.content == b"id,received_at,status\r\n"


async def test_cells_that_a_spreadsheet_would_run_are_neutralised(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    dangerous = ["=1", "+1", "-1", "@a", "\tx", "\rx", "\0x", "＝1", "＋1", "－1", "＠a"]
    harmless = ["1=", "a", " =1", '"=1', "'=1"]
    payload = {"=cmd": dangerous[0]}
    payload |= {str(number): value for number, value in enumerate(dangerous[1:] + harmless)}
    await add_submission(services, form, payload=payload)
    header, row = await download(client, form)
    assert header[3] == "'=cmd"
    assert row[3:] == [f"'{cell}" for cell in dangerous] + harmless


async def test_lines_and_quotes_in_a_cell_survive(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    texts = ["a\r\nb", "a\nb", "a\rb", 'say "x"', "a,b", " é "]
    await add_submission(services, form, payload=dict(zip("abcdef", texts, strict=True)))
    assert (await download(client, form))[1][3:] == texts


async def test_beyond_a_thousand_fields_the_rest_shares_a_column(
    client: httpx.AsyncClient,
    services: Services,
    account: Account,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(export, "COLUMNS_MAX", 2)
    form = await add_form(services, account)
    await add_submission(services, form, payload={"a": "1", "b": "2", "c": "=3"})
    await add_submission(services, form, payload={"b": "4"})
    header, *rows = await download(client, form)
    assert header[3:] == ["a", "b", "other_fields"]
    assert [row[3:] for row in rows] == [["1", "2", '{"c":"=3"}'], ["", "4", ""]]


async def test_a_submission_that_arrives_during_an_export_is_whole_or_absent(
    services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    early = await add_submission(services, form, payload={"a": "1"})
    late_id = new_id("sub", services.clock.now_ms() + 500)
    last = await add_submission(services, form, payload={"a": "2"})
    running = services.submissions.csv(form.id, Filter())
    await running.prepare()
    await add_submission(services, form, id=late_id, payload={"new": "x"})
    await add_submission(services, form, payload={"a": "3"})
    text = b"".join([chunk async for chunk in running.chunks()]).decode()
    assert [line[:30] for line in text.splitlines()[1:]] == [early, last]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_an_export_holds_one_page_in_memory(services: Services, account: Account) -> None:
    form = await add_form(services, account)
    rows = [
        {
            "id": new_id("sub", number),
            "form_id": form.id,
            "received_at": number,
            "status": "received",
            "payload": '{"text":"' + "x" * 2_000 + '"}',
            "meta": "{}",
            "trace": "[]",
            "charged": 1,
        }
        for number in range(10_000)
    ]
    async with services.database.write() as connection:
        await connection.execute(insert(submissions), rows)
    del rows
    tracemalloc.start()
    running = services.submissions.csv(form.id, Filter())
    await running.prepare()
    size = sum([len(chunk) async for chunk in running.chunks()])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size > 20_000_000
    assert peak < 8_000_000


@given(st.lists(st.lists(st.text(alphabet=st.characters(codec="utf-8")), min_size=1), min_size=1))
async def test_a_cell_is_read_back_as_it_was_or_behind_an_apostrophe(rows: list[list[str]]) -> None:
    read = list(csv.reader(io.StringIO(encode_rows(rows).decode(), newline="")))
    assert len(read) == len(rows)
    for cells, originals in zip(read, rows, strict=True):
        for cell, original in zip(cells, originals, strict=True):
            assert cell in (original, f"'{original}")
            assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))


async def test_the_json_export_is_an_array_of_what_the_list_has(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    form = await add_form(services, account, slug="mine")
    path = f"/v1/forms/{form.id}/submissions"
    assert (await client.get(f"{path}.json")).json() == []
    for status in ("received", "spam", "held"):
        await add_submission(services, form, status=status)
    answer = await client.get(f"{path}.json")
    listed = (await client.get(path, params={"status": "all"})).json()["data"]
    assert answer.json() == listed[::-1]
    assert answer.headers["content-type"] == "application/json"
    assert 'filename="mine-submissions.json"' in answer.headers["content-disposition"]


async def test_an_export_obeys_its_filters(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    first = await add_submission(services, form)
    spam = await add_submission(services, form, status="spam")
    last = await add_submission(services, form)
    path = f"/v1/forms/{form.id}/submissions.json"
    for query, ids in (
        ({"status": "received"}, [first, last]),
        ({"since": "2026-05-28T20:26:42Z"}, [spam, last]),
        ({"until": "2026-05-28T20:26:42Z", "status": "spam"}, []),
    ):
        answer = await client.get(path, params=query)
        assert [item["id"] for item in answer.json()] == ids
    csv_path = path.replace(".json", ".csv")
    assert (await client.get(csv_path, params={"status": "spam"})).text.count("\r\n") == 2


async def test_an_export_of_many_pages_has_each_submission_once(
    client: httpx.AsyncClient,
    services: Services,
    account: Account,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service, "_CSV_PAGE", 3)
    monkeypatch.setattr(service, "_JSON_PAGE", 3)
    form = await add_form(services, account)
    statuses = ["received", "spam", "held", "spam", "spam", "spam", "received", "spam"]
    ids = [await add_submission(services, form, status=status) for status in statuses]
    assert [row[0] for row in (await download(client, form))[1:]] == ids
    answer = await client.get(f"/v1/forms/{form.id}/submissions.json")
    assert [item["id"] for item in answer.json()] == ids


@pytest.mark.parametrize("ending", ["csv", "json"])
async def test_an_export_is_in_the_audit_log_and_asking_for_its_head_is_not(
    client: httpx.AsyncClient, services: Services, account: Account, ending: str
) -> None:
    form = await add_form(services, account)
    path = f"/v1/forms/{form.id}/submissions.{ending}"
    head = await client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert "content-disposition" in head.headers
    assert await exports(services) == []
    await client.get(path)
    assert await exports(services) == [form.id]


async def exports(services: Services) -> list[str | None]:
    statement = select(audit_log.c.target).where(audit_log.c.action == "submissions.exported")
    async with services.database.read() as connection:
        return list((await connection.execute(statement)).scalars())
