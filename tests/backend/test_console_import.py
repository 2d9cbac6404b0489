"""Bringing submissions in at the console."""

import hashlib
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from backend.forms.store import FormRow
from backend.management import Services
from tests.backend.builders import Account, add_form, add_submission
from tests.backend.console_builders import ORIGIN, Browser, browsing, text_of

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
]
FORMSPREE = "_date,email,message\n2018-11-03T07:28:29.707632,ada@example.com,Hello\n"


@pytest_asyncio.fixture
async def browser(
    client: httpx.AsyncClient, services: Services, account: Account
) -> AsyncIterator[Browser]:
    async with browsing(services, account) as browser:
        yield browser


@pytest_asyncio.fixture
async def form(services: Services, account: Account) -> FormRow:
    return await add_form(services, account)


async def stored(client: httpx.AsyncClient, form: FormRow) -> list[dict[str, object]]:
    answer = await client.get(f"/v1/forms/{form.id}/submissions?status=all")
    return list(answer.json()["data"])


async def test_a_pasted_export_is_checked_and_then_imported_once(
    client: httpx.AsyncClient, browser: Browser, form: FormRow
) -> None:
    path = f"/forms/{form.id}/import"
    assert "Submissions of another service" in await browser.see(path)
    checked = await browser.post(path, {"export": FORMSPREE, "action": "check"})
    assert "1 submission of Formspree would be imported." in text_of(checked.text)
    assert await stored(client, form) == []
    for sentence in ("1 submission of Formspree imported.", "; 1 was there already."):
        done = await browser.post(path, {"export": FORMSPREE, "action": "import"})
        assert sentence in text_of(done.text)
    [only] = await stored(client, form)
    assert only["received_at"] == "2018-11-03T07:28:29.707Z"
    assert only["payload"] == {"email": "ada@example.com", "message": "Hello"}


async def test_our_own_json_export_comes_back_in(
    client: httpx.AsyncClient, browser: Browser, services: Services, account: Account, form: FormRow
) -> None:
    await browser.post(f"/forms/{form.id}/import", {"export": FORMSPREE, "action": "import"})
    exported = await client.get(f"/v1/forms/{form.id}/submissions.json")
    other = await add_form(services, account, name="Another")
    done = await browser.post(
        f"/forms/{other.id}/import", {"export": exported.text, "action": "import"}
    )
    assert "1 submission of FormFlow imported." in text_of(done.text)
    assert [each["payload"] for each in await stored(client, other)] == [
        {"email": "ada@example.com", "message": "Hello"}
    ]


@pytest.mark.parametrize(
    ("export", "complaint"),
    [
        ("", "holds no submissions"),
        ("a,b\n1,2\n", "which service is it from?"),
        ("_date,email\nyesterday,ada@example.com\n", "line 2: 'yesterday' is not a date"),
        ("[{]", "cannot be read"),
        ("_date,email\n2999-01-01T00:00:00Z,ada@example.com\n", "future"),
    ],
)
async def test_what_cannot_be_imported_is_named_and_stays_in_the_field(
    client: httpx.AsyncClient, browser: Browser, form: FormRow, export: str, complaint: str
) -> None:
    answer = await browser.post(f"/forms/{form.id}/import", {"export": export, "action": "import"})
    assert answer.status_code == 422
    assert complaint in text_of(answer.text)
    assert export.strip()[:5] in answer.text
    assert await stored(client, form) == []


async def test_a_reader_imports_nothing(
    client: httpx.AsyncClient, services: Services, account: Account, form: FormRow
) -> None:
    async with browsing(services, account, "viewer") as viewer:
        assert "/import" not in (await viewer.get(f"/forms/{form.id}")).text
        assert (await viewer.get(f"/forms/{form.id}/import")).status_code == 403
        answer = await viewer.post(
            f"/forms/{form.id}/import", {"export": FORMSPREE, "action": "import"}
        )
    assert answer.status_code == 403
    assert await stored(client, form) == []


async def test_an_imported_submission_is_given_the_file_that_it_had(
    client: httpx.AsyncClient, browser: Browser, form: FormRow
) -> None:
    await browser.post(f"/forms/{form.id}/import", {"export": FORMSPREE, "action": "import"})
    [submission] = await stored(client, form)
    path = f"/submissions/{submission['id']}"
    assert "Add a file that it had" in await browser.see(path)
    query = {
        "position": "0",
        "field": "cv",
        "name": "cv.txt",
        "content_type": "text/plain",
        "sha256": hashlib.sha256(b"content").hexdigest(),
    }
    url = f"{path}/files"
    headers = {"Origin": ORIGIN, "Content-Type": "application/octet-stream"}
    forged = await browser.client.post(url, params=query, content=b"content", headers=headers)
    assert forged.status_code == 403
    added = await browser.send(url, b"content", **query)
    assert added.status_code == 204
    assert "cv.txt" in await browser.see(path)
    [submission] = await stored(client, form)
    assert [file["name"] for file in submission["files"]] == ["cv.txt"]  # type: ignore[attr-defined]


async def test_what_a_visitor_posted_is_given_no_file(
    browser: Browser, services: Services, form: FormRow
) -> None:
    id = await add_submission(services, form)
    assert "Add a file" not in await browser.see(f"/submissions/{id}")
