"""The console's lists of submissions: finding, arriving, and doing something with many."""

import html
import re
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from backend.forms.store import FormRow
from backend.management import Services
from contracts.ids import new_id
from tests.backend.builders import Account, add_account, add_form, add_submission
from tests.backend.console_builders import Browser, browsing, text_of
from tests.backend.file_builders import add_file_row
from tests.support.clock import ManualClock

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
]

HTMX = {"HX-Request": "true"}


@pytest_asyncio.fixture
async def browser(services: Services, account: Account) -> AsyncIterator[Browser]:
    async with browsing(services, account) as signed_in:
        yield signed_in


@pytest_asyncio.fixture
async def form(services: Services, account: Account) -> FormRow:
    return await add_form(services, account)


def listed(page: str) -> list[str]:
    """The submissions that a page leads to, in its order."""
    return re.findall(r'href="/submissions/(sub_\w{26})[^"/]*"', page)


def question(page: str) -> str:
    """What a page asks for next by itself."""
    [url] = re.findall(r'id="watch"[^>]* hx-get="([^"]+)"', page)
    return html.unescape(url)


async def test_a_list_shows_who_wrote_what_to_which_form(
    services: Services, account: Account, form: FormRow, browser: Browser
) -> None:
    payload = {"email": "ada@example.com", "name": "Ada", "message": "Two\nlines <b>"}
    id = await add_submission(services, form, payload=payload)
    await add_file_row(services, id)
    page = await browser.get("/submissions")
    assert listed(page.text) == [id]
    assert "Ada Two lines <b> · ada@example.com 1 file Contact" in text_of(page.text)
    assert "<b>" not in page.text


async def test_a_list_is_filtered_as_the_api_filters_it(
    services: Services, account: Account, form: FormRow, browser: Browser
) -> None:
    other = await add_form(services, account, name="Other")
    received = await add_submission(services, form, payload={"a": "apple pie"})
    read = await add_submission(services, form, is_read=True)
    held = await add_submission(services, other, status="held")
    spam = await add_submission(services, other, status="spam")

    async def ids(address: str) -> list[str]:
        page = await browser.get(address)
        assert page.status_code == 200, page.text
        return listed(page.text)

    assert await ids("/submissions") == [read, received]
    assert await ids("/submissions?status=all") == [spam, held, read, received]
    assert await ids("/submissions?status=held") == [held]
    assert await ids("/submissions?status=spam") == [spam]
    assert await ids("/submissions?read=false") == [received]
    assert await ids("/submissions?q=app") == [received]
    assert await ids(f"/forms/{other.id}/submissions?status=all") == [spam, held]
    assert await ids("/submissions?since=2026-05-28&until=2026-05-28") == [read, received]
    assert await ids("/submissions?until=2026-05-27") == []
    assert await ids("/submissions?since=2026-05-28T20:26:42Z") == [read]


async def test_a_form_that_is_chosen_has_a_page_of_its_own(form: FormRow, browser: Browser) -> None:
    chosen = f"/submissions?form_id={form.id}&status=spam&read="
    answer = await browser.get(chosen)
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/forms/{form.id}/submissions?status=spam"
    answer = await browser.get(chosen, **HTMX)
    assert answer.headers["hx-redirect"] == f"/forms/{form.id}/submissions?status=spam"


async def test_a_filter_that_means_nothing_is_explained(browser: Browser, form: FormRow) -> None:
    for query in ("since=yesterday", "status=lost", "cursor=x", "read=perhaps", "q=" + "x" * 201):
        page = await browser.get(f"/forms/{form.id}/submissions?{query}")
        assert page.status_code == 422
        assert 'role="alert"' in page.text
        assert "Show all" in text_of(page.text)
    page = await browser.get("/submissions?since=yesterday")
    assert "Give an ISO 8601 timestamp" in text_of(page.text)


async def test_an_empty_list_says_what_to_do(browser: Browser, form: FormRow) -> None:
    assert "Point any HTML form" in await browser.see("/submissions")
    assert "Nothing found" in await browser.see("/submissions?q=nobody")
    assert "release it" in await browser.see("/submissions?status=held")
    assert "No spam" in await browser.see(f"/forms/{form.id}/submissions?status=spam")


async def test_a_long_list_goes_on_where_it_ended(
    services: Services, form: FormRow, browser: Browser
) -> None:
    made = [await add_submission(services, form) for _ in range(53)]
    first = await browser.get("/submissions?read=false")
    assert listed(first.text) == made[:2:-1]
    [older] = re.findall(r'href="([^"]+)" rel="next">Older', first.text)
    second = await browser.get(html.unescape(older))
    assert listed(second.text) == made[2::-1]
    assert 'href="/submissions?read=false">Newest' in second.text
    assert 'hx-get="/submissions/newer' not in second.text


async def test_what_comes_in_is_given_once_and_nothing_else_is(
    services: Services, form: FormRow, browser: Browser
) -> None:
    await add_submission(services, form)
    url = question((await browser.get("/submissions")).text)
    assert (await browser.get(url, **HTMX)).status_code == 204
    new = await add_submission(services, form, payload={"name": "Grace"})
    await add_submission(services, form, status="spam")
    answer = await browser.get(url, **HTMX)
    assert listed(answer.text) == [new]
    assert "Grace" in answer.text
    assert "1 new since you opened this list" in text_of(answer.text)
    assert (await browser.get(question(answer.text), **HTMX)).status_code == 204


async def test_what_was_stored_late_comes_too(
    services: Services, form: FormRow, browser: Browser, clock: ManualClock
) -> None:
    """Its files took a minute: another, received after it, was stored before it."""
    now_ms = clock.now_ms()
    clock.advance(60)
    await add_submission(services, form)
    url = question((await browser.get("/submissions")).text)

    late = new_id("sub", now_ms)
    await add_submission(services, form, id=late, received_at=now_ms)
    answer = await browser.get(url, **HTMX)
    assert listed(answer.text) == [late]
    assert (await browser.get(question(answer.text), **HTMX)).status_code == 204


async def test_a_list_that_nothing_was_in_gets_its_first(
    services: Services, form: FormRow, browser: Browser
) -> None:
    url = question((await browser.get(f"/forms/{form.id}/submissions")).text)
    new = await add_submission(services, form)
    assert listed((await browser.get(url, **HTMX)).text) == [new]


async def test_a_flood_is_told_and_not_added(
    services: Services, form: FormRow, browser: Browser
) -> None:
    url = question((await browser.get("/submissions?read=false")).text)
    for _ in range(51):
        await add_submission(services, form)
    answer = await browser.get(url, **HTMX)
    assert listed(answer.text) == []
    assert "Many more came in" in text_of(answer.text)
    assert 'href="/submissions?read=false"' in answer.text
    assert "hx-get" not in answer.text


async def test_who_opens_the_question_gets_the_list(browser: Browser) -> None:
    answer = await browser.get("/submissions/newer?status=held&from=x")
    assert (answer.status_code, answer.headers["location"]) == (303, "/submissions?status=held")
    assert (await browser.get("/submissions/newer?from=x", **HTMX)).status_code == 422


@pytest.mark.parametrize(
    ("action", "member", "value"),
    [
        ("mark_read", "read", True),
        ("mark_spam", "status", "spam"),
        ("mark_received", "status", "received"),
    ],
)
async def test_many_are_marked(
    services: Services,
    client: httpx.AsyncClient,
    form: FormRow,
    browser: Browser,
    action: str,
    member: str,
    value: object,
) -> None:
    made = [await add_submission(services, form, status="held") for _ in range(3)]
    path = f"/forms/{form.id}/submissions?status=held&q=ada"
    answer = await browser.post(path, {"action": action, "ids": made[:2]})
    assert answer.status_code == 303
    location = answer.headers["location"]
    assert location.startswith(f"/forms/{form.id}/submissions?status=held&q=ada&count=2&notice=")
    assert ": 2." in await browser.see(location)
    changed = [(await client.get(f"/v1/submissions/{id}")).json()[member] for id in made]
    assert changed[:2] == [value, value]
    assert changed[2] != value


async def test_without_a_tick_nothing_happens(browser: Browser) -> None:
    answer = await browser.post("/submissions", {"action": "delete"})
    assert "Tick the submissions first." in await browser.see(answer.headers["location"])


async def test_many_are_deleted_after_a_question(
    services: Services, client: httpx.AsyncClient, form: FormRow, browser: Browser
) -> None:
    made = [await add_submission(services, form) for _ in range(3)]
    asked = await browser.post("/submissions", {"action": "delete", "ids": made[:2]})
    assert asked.status_code == 200
    assert "Delete 2 submissions?" in text_of(asked.text)
    assert "cannot be undone" in asked.text
    assert (await client.get(f"/v1/submissions/{made[0]}")).status_code == 200
    fields = {"action": "delete", "ids": re.findall(r'name="ids" value="(\w+)"', asked.text)}
    done = await browser.post("/submissions", fields | {"confirmed": "yes"})
    assert "Deleted: 2." in await browser.see(done.headers["location"])
    assert [item["id"] for item in (await client.get("/v1/submissions")).json()["data"]] == made[2:]


async def test_who_may_only_read_is_offered_nothing_else(
    services: Services, account: Account, form: FormRow
) -> None:
    id = await add_submission(services, form, payload={"a": "b"})
    async with browsing(services, account, rights=["submissions:read"]) as reader:
        page = await reader.get("/submissions")
        assert listed(page.text) == [id]
        assert "mark_read" not in page.text
        assert 'type="checkbox"' not in page.text
        refused = await reader.post("/submissions", {"action": "mark_read", "ids": [id]})
        assert refused.status_code == 403
    async with browsing(services, account, rights=["submissions:write"]) as writer:
        assert (await writer.get("/submissions")).status_code == 403
        fields = {"action": "delete", "ids": [id], "confirmed": "yes"}
        assert (await writer.post("/submissions", fields)).status_code == 403


async def test_another_accounts_submissions_are_not_there(
    services: Services, browser: Browser
) -> None:
    foreign = await add_form(services, await add_account(services))
    id = await add_submission(services, foreign)
    assert listed((await browser.get("/submissions?status=all")).text) == []
    assert (await browser.get(f"/forms/{foreign.id}/submissions")).status_code == 404
    answer = await browser.post("/submissions", {"action": "mark_spam", "ids": [id]})
    assert "Filed as spam: 0." in await browser.see(answer.headers["location"])


async def test_a_form_of_another_page_changes_nothing(
    services: Services, client: httpx.AsyncClient, form: FormRow, browser: Browser
) -> None:
    id = await add_submission(services, form)
    fields = {"action": "mark_spam", "ids": [id]}
    assert (await browser.post("/submissions", fields | {"csrf": "x"})).status_code == 403
    assert (await browser.post("/submissions", fields, Origin="http://evil")).status_code == 403
    assert (await client.get(f"/v1/submissions/{id}")).json()["status"] == "received"


async def test_a_page_of_long_texts_is_small(
    services: Services, form: FormRow, browser: Browser
) -> None:
    for _ in range(50):
        await add_submission(services, form, payload={"message": "<&> " * 5_000, "n" * 200: "x"})
    page = await browser.get("/submissions")
    assert len(listed(page.text)) == 50
    assert len(page.content) < 100_000
