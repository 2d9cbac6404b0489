import json
from collections.abc import Awaitable, Callable

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, text

from backend.management import Services
from backend.search import indexer, store
from backend.search.indexer import Indexer
from backend.search.words import WORD_MAX, parse_query, words_of_payload
from backend.submissions import finding, search_store
from backend.tables import search_documents, search_late, search_state, submissions
from contracts.ids import new_id
from contracts.submissions import Submission
from tests.backend.builders import Account, add_account, add_form, add_submission

pytestmark = pytest.mark.asyncio
_HOUR_SECONDS = 3600

# What is searched for, and whether a submission with the payload below is found.
CASES = [
    ("ada", True),
    ("ADA lovelace", True),
    ("lovelace ada", True),
    ("ada babbage", False),
    ("love", True),
    ("lo", False),
    ("love ada", False),
    ("ada@example.com", True),
    ("example", True),
    ("xample", False),
    ("cafe", True),
    ("CAFÉ", True),
    ("strasse", True),
    ("STRAẞE", True),
    ("ελλαδα", True),
    ("ﬁnance", True),
    ("東京", True),
    ("京", True),
    ("4915112345678", True),
    ("nope", False),
    ("message", False),
    ("topics", False),
    ("second", True),
    ('"ada"', True),
    ("ada OR nope", False),
    ("ada*", True),
    ("NOT ada", False),
    ("a:b", False),
    ("'; DROP TABLE submissions; --", False),
    ("\0", False),
    ("!?", False),
    ("   ", True),
    ("", True),
]
PAYLOAD = {
    "name": "Ada Lovelace",
    "email": "ada@example.com",
    "message": "Café in der Hauptstraße, Ελλάδα, 東京, finance, Strasse",
    "topics": ["first", "second thing"],
    "phone": "+4915112345678",
}


@pytest.fixture
def index(services: Services) -> Indexer:
    return Indexer(services.database, services.clock)


Settle = Callable[[], Awaitable[None]]


@pytest.fixture(params=["indexed", "unindexed"])
def settle(request: pytest.FixtureRequest, index: Indexer) -> Settle:
    """Lets the indexer catch up, or does not: a search finds the same."""

    async def nothing() -> None:
        pass

    return index.catch_up if request.param == "indexed" else nothing


async def found(client: httpx.AsyncClient, path: str, **query: str | int) -> list[str]:
    answer = await client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["data"]]


async def documents(services: Services) -> list[str]:
    async with services.database.read() as connection:
        rows = await connection.execute(select(search_documents.c.submission_id))
        return list(rows.scalars())


async def test_what_is_found_is_the_same_everywhere(
    client: httpx.AsyncClient, services: Services, account: Account, settle: Settle
) -> None:
    form = await add_form(services, account)
    id = await add_submission(services, form, payload=PAYLOAD)
    await settle()
    path = f"/v1/forms/{form.id}/submissions"
    results = {q: await found(client, path, q=q) == [id] for q, _ in CASES}
    assert results == dict(CASES)


async def test_a_search_obeys_every_filter(
    client: httpx.AsyncClient, services: Services, account: Account, settle: Settle
) -> None:
    form = await add_form(services, account)
    first = await add_submission(services, form, payload={"a": "word one"})
    spam = await add_submission(services, form, payload={"a": "word two"}, status="spam")
    read = await add_submission(services, form, payload={"a": "word three"}, is_read=True)
    held = await add_submission(services, form, payload={"a": "word four"}, status="held")
    await settle()
    path = f"/v1/forms/{form.id}/submissions"
    moment = "2026-05-28T20:26:43Z"
    assert await found(client, path, q="word") == [read, first]
    assert await found(client, path, q="word", status="all") == [held, read, spam, first]
    assert await found(client, path, q="word", status="spam") == [spam]
    assert await found(client, path, q="word", read="true") == [read]
    assert await found(client, path, q="word", read="false", status="all") == [held, spam, first]
    assert await found(client, path, q="word", since=moment) == [read]
    assert await found(client, path, q="word", until=moment) == [first]


async def test_pages_of_a_search_follow_each_other(
    client: httpx.AsyncClient, services: Services, account: Account, index: Indexer
) -> None:
    form = await add_form(services, account)
    ids = [await add_submission(services, form, payload={"a": "word"}) for _ in range(4)]
    await index.catch_up()
    ids += [await add_submission(services, form, payload={"a": "word"}) for _ in range(3)]
    assert await all_pages(client, f"/v1/forms/{form.id}/submissions", 2) == ids[::-1]


async def all_pages(client: httpx.AsyncClient, path: str, limit: int) -> list[str]:
    ids: list[str] = []
    query: dict[str, str | int] = {"q": "word", "limit": limit}
    while True:
        page = (await client.get(path, params=query)).json()
        assert len(page["data"]) <= limit
        ids += [item["id"] for item in page["data"]]
        if page["next_cursor"] is None:
            return ids
        query["cursor"] = page["next_cursor"]


async def test_a_page_looks_through_a_bounded_number_and_goes_on_from_there(
    client: httpx.AsyncClient,
    services: Services,
    account: Account,
    index: Indexer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(finding, "UNINDEXED_MAX", 3)
    form = await add_form(services, account)
    wanted = [await add_submission(services, form, payload={"a": "word"})]
    await index.catch_up()
    for n in range(9):
        id = await add_submission(services, form, payload={"a": "word" if n == 2 else "x"})
        wanted += [id] if n == 2 else []
    path = f"/v1/forms/{form.id}/submissions"
    first = (await client.get(path, params={"q": "word"})).json()
    assert first["data"] == []
    assert first["next_cursor"] is not None
    assert await all_pages(client, path, 50) == wanted[::-1]


async def test_a_search_of_all_forms_stays_within_the_account(
    client: httpx.AsyncClient, services: Services, account: Account, settle: Settle
) -> None:
    forms = [await add_form(services, account), await add_form(services, account)]
    ids = [await add_submission(services, form, payload={"a": "word"}) for form in forms]
    stranger = await add_account(services)
    foreign = await add_form(services, stranger)
    await add_submission(services, foreign, payload={"a": "word"})
    await settle()
    assert await found(client, "/v1/submissions", q="word") == ids[::-1]
    assert await found(client, "/v1/submissions", q="word", form_id=forms[0].id) == ids[:1]
    assert await found(client, "/v1/submissions", q="word", form_id=foreign.id) == []


async def test_what_is_filed_otherwise_is_found_there(
    client: httpx.AsyncClient, services: Services, account: Account, settle: Settle
) -> None:
    form = await add_form(services, account)
    id = await add_submission(services, form, payload={"a": "word"}, status="held")
    await settle()
    await client.patch(f"/v1/submissions/{id}", json={"status": "spam", "read": True})
    path = f"/v1/forms/{form.id}/submissions"
    assert await found(client, path, q="word", status="held") == []
    assert await found(client, path, q="word", status="spam", read="true") == [id]


async def test_what_is_deleted_leaves_the_index_whoever_deletes_it(
    client: httpx.AsyncClient, services: Services, account: Account, index: Indexer
) -> None:
    form = await add_form(services, account)
    ids = [await add_submission(services, form, payload={"a": "word"}) for _ in range(2)]
    await index.catch_up()
    assert (await client.delete(f"/v1/submissions/{ids[0]}")).status_code == 204
    async with services.database.write() as connection:
        await connection.execute(submissions.delete().where(submissions.c.id == ids[1]))
    assert await documents(services) == []
    assert await found(client, f"/v1/forms/{form.id}/submissions", q="word") == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_after_a_purge_no_byte_of_what_was_deleted_is_in_the_index(
    client: httpx.AsyncClient, services: Services, account: Account, index: Indexer
) -> None:
    form = await add_form(services, account)
    gone = await add_submission(services, form, payload={"a": "verysecretword"})
    await index.catch_up()
    await add_submission(services, form, payload={"a": "another"})
    await index.catch_up()
    assert await blocks_with(services, b"verysecretword") == 1
    await client.delete(f"/v1/submissions/{gone}")
    await index.purge()
    assert await blocks_with(services, b"verysecretword") == 0
    assert len(await found(client, f"/v1/forms/{form.id}/submissions", q="another")) == 1


async def blocks_with(services: Services, word: bytes) -> int:
    async with services.database.read() as connection:
        blocks = (await connection.execute(text("SELECT block FROM search_index_data"))).scalars()
        return sum(word in block for block in blocks)


async def test_what_was_there_before_the_index_is_indexed_bit_by_bit(
    services: Services, account: Account, index: Indexer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexer, "_BATCH", 2)
    form = await add_form(services, account)
    ids = [await add_submission(services, form) for _ in range(5)]
    await index.catch_up()
    assert sorted(await documents(services)) == ids


async def test_the_index_is_complete_up_to_a_while_ago(
    services: Services, account: Account, index: Indexer
) -> None:
    form = await add_form(services, account)
    old = await add_submission(services, form)
    services.clock.advance(_HOUR_SECONDS)  # type: ignore[attr-defined]
    new = await add_submission(services, form)
    await index.catch_up()
    async with services.database.read() as connection:
        before = (await connection.execute(select(search_state.c.complete_before))).scalar_one()
    assert old < before < new


async def test_what_is_noted_as_late_is_found_before_and_after_it_is_indexed(
    client: httpx.AsyncClient, services: Services, account: Account, index: Indexer
) -> None:
    form = await add_form(services, account)
    late_id = new_id("sub", services.clock.now_ms())
    services.clock.advance(_HOUR_SECONDS)  # type: ignore[attr-defined]
    await add_submission(services, form)
    await index.catch_up()
    await add_submission(services, form, id=late_id, payload={"a": "word"})
    async with services.database.write() as connection:
        await store.note_all_late(connection, [late_id])
    path = f"/v1/forms/{form.id}/submissions"
    assert await found(client, path, q="word") == [late_id]
    await index.catch_up()
    assert await found(client, path, q="word") == [late_id]
    assert await count_late(services) == 0


async def test_the_patrol_finds_what_nobody_noted(
    client: httpx.AsyncClient, services: Services, account: Account, index: Indexer
) -> None:
    form = await add_form(services, account)
    late_id = new_id("sub", services.clock.now_ms())
    services.clock.advance(_HOUR_SECONDS)  # type: ignore[attr-defined]
    await add_submission(services, form)
    await index.catch_up()
    await add_submission(services, form, id=late_id, payload={"a": "word"})
    await index.patrol()
    assert await found(client, f"/v1/forms/{form.id}/submissions", q="word") == [late_id]


async def count_late(services: Services) -> int:
    async with services.database.read() as connection:
        return len((await connection.execute(select(search_late))).all())


async def test_ids_whose_numbers_are_alike_keep_their_order(
    client: httpx.AsyncClient, services: Services, account: Account, index: Indexer
) -> None:
    form = await add_form(services, account)
    stem = new_id("sub", services.clock.now_ms())[:-2]
    ids = [stem + ending for ending in ("0a", "0b", "0c")]
    for id in ids:
        await add_submission(services, form, id=id, payload={"a": "word"})
    await index.catch_up()
    assert await found(client, f"/v1/forms/{form.id}/submissions", q="word") == ids[::-1]


@given(text=st.text(max_size=60))
async def test_a_text_finds_the_submission_that_has_it(text: str) -> None:
    query = parse_query(text)
    payload = json.dumps({"a": f"{text} and more"})
    assert query.is_empty or query.matches(payload)


@given(text=st.text(), other=st.text())
async def test_words_need_no_quoting_in_either_database(text: str, other: str) -> None:
    for word in words_of_payload(json.dumps({"a": text, "b": [other]})):
        assert 0 < len(word) <= WORD_MAX
        assert not {"'", '"', "\\", ":", "*", "\0"} & set(word)
        assert word.split() == [word]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_query_of_more_than_200_characters_is_422(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    path = f"/v1/forms/{form.id}/submissions"
    assert (await client.get(path, params={"q": "a" * 200})).status_code == 200
    assert (await client.get(path, params={"q": "a" * 201})).status_code == 422


async def test_the_newest_of_a_beginning_come_first_however_many_there_are(
    client: httpx.AsyncClient,
    services: Services,
    account: Account,
    index: Indexer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(search_store, "_CANDIDATES", 3)
    form = await add_form(services, account)
    texts = ["example", "exact", "examples", "exam", "examined", "exact", "exact", "exact"]
    ids = [await add_submission(services, form, payload={"a": text}) for text in texts]
    await index.catch_up()
    path = f"/v1/forms/{form.id}/submissions"
    assert await found(client, path, q="exam") == [ids[4], ids[3], ids[2], ids[0]]
    assert await found(client, path, q="exact", limit=2) == [ids[7], ids[6]]


async def test_what_is_committed_late_is_noted_by_the_commit(
    client: httpx.AsyncClient, services: Services, account: Account, index: Indexer
) -> None:
    form = await add_form(services, account)
    old_ms = services.clock.now_ms()
    services.clock.advance(_HOUR_SECONDS)  # type: ignore[attr-defined]
    await add_submission(services, form)
    await index.catch_up()
    times = (old_ms, services.clock.now_ms())
    items = [
        Submission(new_id("sub", ms), form.id, ms, "received", '{"a":"word"}', "{}", "[]")
        for ms in times
    ]
    await services.intake.commit(items)
    assert await count_late(services) == 1
    path = f"/v1/forms/{form.id}/submissions"
    assert await found(client, path, q="word") == [items[1].id, items[0].id]


@given(times=st.lists(st.integers(0, 2**43 - 1), min_size=2, max_size=2))
async def test_numbers_sort_as_ids(times: list[int]) -> None:
    low, high = sorted(new_id("sub", ms) for ms in times)
    assert store.number_of(low) <= store.number_of(high) < 2**63
