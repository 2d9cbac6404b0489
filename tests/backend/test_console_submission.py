"""The console's page of one submission: all of it, made readable, and what can be done with it."""

import html
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import orjson
import pytest
import pytest_asyncio

from backend.console.submissions.texts import pieces_of
from backend.forms.store import FormRow
from backend.management import Services
from gateway import ingest
from gateway.challenge import ChallengeVerdict
from tests.backend.builders import Account, add_account, add_form, add_submission, create_key
from tests.backend.console_builders import Browser, browsing, text_of
from tests.backend.delivering import BAD, GOOD, all_are, always, delivering, eventually
from tests.backend.file_builders import add_file_row, new_key, put
from tests.backend.webhook_builders import create_webhook

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


async def read(client: httpx.AsyncClient, id: str) -> dict[str, object]:
    document: dict[str, object] = (await client.get(f"/v1/submissions/{id}")).json()
    return document


async def test_all_fields_can_be_read(services: Services, form: FormRow, browser: Browser) -> None:
    payload = {"topic": ["sales", "press"], "message": "One\n\n  two", "none": "", "": "nameless"}
    page = (
        await browser.get(f"/submissions/{await add_submission(services, form, payload=payload)}")
    ).text
    assert "topic sales press" in text_of(page)
    assert "One\n\n  two</dd>" in page
    assert "none empty" in text_of(page)
    assert "(no name) nameless" in text_of(page)


async def test_addresses_become_links_and_nothing_else_does(
    services: Services, form: FormRow, browser: Browser
) -> None:
    text = (
        "See https://example.com/a?b=1&c=<2>, (http://example.org/x). Mail ada@example.com! "
        "javascript:alert(1) data:text/html,x //evil.test https://bank.test@evil.test/ http:// ftp://x"
    )
    id = await add_submission(services, form, payload={"<script>": text})
    page = (await browser.get(f"/submissions/{id}")).text
    body = page[page.index('class="fields"') : page.index("</dl>")]
    links = re.findall(r'<a href="([^"]*)"([^>]*)>([^<]*)</a>', body)
    leaving = ' rel="noopener noreferrer nofollow ugc"'
    assert [(html.unescape(href), more, html.unescape(shown)) for href, more, shown in links] == [
        ("https://example.com/a?b=1&c=", leaving, "https://example.com/a?b=1&c="),
        ("http://example.org/x", leaving, "http://example.org/x"),
        ("mailto:ada@example.com", "", "ada@example.com"),
    ]
    assert text in html.unescape(re.sub("<[^>]*>", "", body))
    assert "<script>" not in page


@pytest.mark.parametrize(
    "text", ["a" * 200_000, "a@" * 100_000, "a.a@a." * 40_000, "http://" * 40_000, "https://[" * 20]
)
async def test_no_text_takes_long_or_is_lost(text: str, database_url: str) -> None:
    assert "".join(piece.text for piece in pieces_of(text)) == text


async def test_an_answer_goes_to_the_visitor_alone(
    services: Services, form: FormRow, browser: Browser
) -> None:
    payload = {"email": "ada?bcc=all&x@example.com", "message": "Hello"}
    id = await add_submission(services, form, payload=payload)
    page = (await browser.get(f"/submissions/{id}")).text
    [reply] = re.findall(r'href="(mailto:[^"]*)">Reply', page)
    assert html.unescape(reply) == "mailto:ada%3Fbcc%3Dall%26x@example.com?subject=Re%3A%20Contact"


async def test_what_is_known_of_the_post_is_told(
    services: Services, client: httpx.AsyncClient, form: FormRow, browser: Browser
) -> None:
    key = await create_key(client)
    meta = {
        "ip": "192.0.2.7",
        "user_agent": "Browser <1>",
        "referrer": "javascript:alert(1)",
        "probe": True,
        "charset_guessed": True,
    }
    public_part = key["key"].removeprefix("ff_sub_")[:12]
    id = await add_submission(services, form, meta=orjson.dumps(meta).decode(), key_id=public_part)
    page = (await browser.get(f"/submissions/{id}")).text
    text = text_of(page)
    for said in ("192.0.2.7", "Browser <1>", "API key a key", "Probe", "encoding was guessed"):
        assert said in text
    assert "Page javascript:alert(1)" in text
    assert 'href="javascript' not in page


async def test_each_check_is_told_in_words(
    services: Services, form: FormRow, browser: Browser
) -> None:
    trace = [
        ["form", "live", 12],
        ["honeypot", "clear", 3],
        ["turnstile", "held", 2_345_678],
        ["<new check>", "<verdict>", 1],
        ["import", "from csv", 0],
    ]
    id = await add_submission(
        services, form, trace=orjson.dumps(trace).decode(), status="held", charged=1
    )
    text = await browser.see(f"/submissions/{id}")
    assert "Form 12 µs The form was live." in text
    assert "Honeypot 3 µs The field that people do not see was left empty." in text
    assert "Turnstile 2.3 s Cloudflare could not be asked: held for review" in text
    assert "<new check> 1 µs <verdict>" in text
    assert "Import Imported from csv." in text
    assert "Held for review. Nothing goes out until you release it. It cost 1 of" in text


async def test_every_check_of_the_gateway_has_its_words(
    services: Services, form: FormRow, browser: Browser
) -> None:
    source = Path(ingest.__file__).read_text()
    marks = {
        (check, verdict)
        for check, verdicts in re.findall(r'trace\.mark\("([a-z ]+)", ([^)]+)\)', source)
        for verdict in re.findall(r'"([a-z]+)"', verdicts)
    }
    marks |= {("turnstile", verdict.value) for verdict in ChallengeVerdict}
    assert {("honeypot", "trapped"), ("honeypot", "off"), ("key", "anonymous")} <= marks
    trace = [[check, verdict, 5] for check, verdict in marks]
    id = await add_submission(services, form, trace=orjson.dumps(trace).decode())
    page = (await browser.get(f"/submissions/{id}")).text
    for step in re.findall(r'class="small">([^<]*)</p>', page[page.index('id="in"') :]):
        assert step.endswith(".")


async def test_what_went_out_is_told_and_sent_again(
    services: Services, client: httpx.AsyncClient, account: Account, browser: Browser
) -> None:
    form = await add_form(services, account, notify_emails="owner@example.com")
    hook = await create_webhook(client, form.id)
    id = await add_submission(services, form, status="held")
    page = f"/submissions/{id}"
    released = await browser.post(page, {"action": "mark_received"})
    assert "goes out now" in await browser.see(released.headers["location"])
    assert "Whom to tell is being looked up." in await browser.see(page)
    async with delivering(services, always(BAD), attempts=1):
        # One is the invitation of whoever looks.
        await eventually(lambda: all_are(services, "failed", 3))
    text = await browser.see(page)
    assert "2 failed." in text
    assert "Webhook Failed 127.0.0.1:2 Send again 1 attempt, last answer 500" in text
    assert "Notification Failed owner@example.com" in text
    assert "the target answered 500" in text
    deliveries = (await read(client, id))["deliveries"]
    assert isinstance(deliveries, list)
    [failed] = [each["id"] for each in deliveries if each["target"] == hook["id"]]
    again = await browser.post(f"{page}/deliveries/{failed}/replay")
    assert again.headers["location"] == f"{page}?notice=sent-again"
    moving = await browser.get(f"{page}/deliveries", **HTMX)
    assert moving.status_code == 200
    assert "On its way 127.0.0.1:2 Not attempted yet" in text_of(moving.text)
    async with delivering(services, always(GOOD)):
        await eventually(lambda: some_are_delivered(client, id))
    still = await browser.get(f"{page}/deliveries", **HTMX)
    assert still.status_code == 286
    assert "1 delivered, 2 failed." in text_of(still.text)


async def some_are_delivered(client: httpx.AsyncClient, id: str) -> bool:
    deliveries = (await read(client, id))["deliveries"]
    assert isinstance(deliveries, list)
    return any(each["status"] == "delivered" for each in deliveries)


async def test_looking_changes_nothing_and_the_script_marks_it_as_read(
    services: Services, client: httpx.AsyncClient, form: FormRow, browser: Browser
) -> None:
    id = await add_submission(services, form)
    page = (await browser.get(f"/submissions/{id}?read=false")).text
    assert (await read(client, id))["read"] is False
    assert f'hx-post="/submissions/{id}?read=false" hx-trigger="load"' in page
    answer = await browser.post(f"/submissions/{id}?read=false", {"action": "mark_read"}, **HTMX)
    assert text_of(answer.text) == "Mark unread"
    assert (await read(client, id))["read"] is True
    kept = await browser.post(f"/submissions/{id}?read=false", {"action": "mark_unread"})
    assert kept.headers["location"].startswith("/submissions?read=false&notice=")
    assert (await read(client, id))["read"] is False


async def test_it_is_filed_as_spam_and_back(
    services: Services, client: httpx.AsyncClient, form: FormRow, browser: Browser
) -> None:
    path = f"/submissions/{await add_submission(services, form)}"
    done = await browser.post(path, {"action": "mark_spam"})
    text = await browser.see(done.headers["location"])
    assert "Filed as spam." in text
    assert "Not spam" in text
    await browser.post(path, {"action": "mark_received"})
    assert "Not spam" not in await browser.see(path)
    assert (await browser.post(path, {"action": "burn"})).status_code == 400


async def test_it_is_deleted_after_a_question_that_says_what_is_lost(
    services: Services, client: httpx.AsyncClient, form: FormRow, browser: Browser
) -> None:
    id = await add_submission(services, form, payload={"name": "Ada"})
    await add_file_row(services, id)
    path = f"/submissions/{id}/delete?form_id={form.id}"
    asked = await browser.see(path)
    assert "Ada" in asked
    assert "its file" in asked
    assert (await client.get(f"/v1/submissions/{id}")).status_code == 200
    done = await browser.post(path)
    assert done.headers["location"] == f"/forms/{form.id}/submissions?notice=deleted"
    assert (await client.get(f"/v1/submissions/{id}")).status_code == 404


async def test_its_neighbours_are_those_of_the_list_it_was_opened_from(
    services: Services, account: Account, form: FormRow, browser: Browser
) -> None:
    other = await add_form(services, account)
    first = await add_submission(services, form)
    await add_submission(services, other)
    here = await add_submission(services, form)
    await add_submission(services, form, status="spam")
    last = await add_submission(services, form)
    page = (await browser.get(f"/submissions/{here}?form_id={form.id}&read=false")).text
    query = f"form_id={form.id}&amp;read=false"
    assert f'rel="prev" href="/submissions/{last}?{query}"' in page
    assert f'rel="next" href="/submissions/{first}?{query}"' in page
    assert f'href="/forms/{form.id}/submissions?read=false">Submissions' in page
    assert 'rel="prev"' not in (await browser.get(f"/submissions/{last}")).text


async def test_a_file_is_saved_and_never_run(
    services: Services, form: FormRow, browser: Browser
) -> None:
    id, content = await add_submission(services, form), new_key("x.html")
    await put(services.files, content, b"<script>")
    file_id = await add_file_row(
        services, id, name="x.html", content_type="text/html", size=8, object_key=content
    )
    page = (await browser.get(f"/submissions/{id}")).text
    assert "x.html text/html cv 8 bytes" in text_of(page)
    assert f'href="/submissions/{id}/files/{file_id}"' in page
    answer = await browser.get(f"/submissions/{id}/files/{file_id}")
    assert answer.content == b"<script>"
    assert answer.headers["content-disposition"].startswith("attachment;")
    assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert answer.headers["cache-control"] == "no-store"


async def test_who_may_only_read_is_offered_nothing_else(
    services: Services, client: httpx.AsyncClient, account: Account, form: FormRow
) -> None:
    id = await add_submission(services, form, payload={"email": "ada@example.com"})
    async with browsing(services, account, rights=["submissions:read"]) as reader:
        page = (await reader.get(f"/submissions/{id}")).text
        assert "ada@example.com" in page
        assert "<button" not in page.replace('<button type="button"', "")
        assert "/delete" not in page
        assert (await reader.post(f"/submissions/{id}", {"action": "mark_spam"})).status_code == 403
        assert (await reader.get(f"/submissions/{id}/delete")).status_code == 403
        assert (await reader.post(f"/submissions/{id}/delete")).status_code == 403
    assert (await read(client, id))["status"] == "received"


async def test_another_accounts_submission_is_not_there(
    services: Services, browser: Browser
) -> None:
    id = await add_submission(services, await add_form(services, await add_account(services)))
    path = f"/submissions/{id}"
    for address in (path, f"{path}/delete", "/submissions/sub_none"):
        assert (await browser.get(address)).status_code == 404
    for address in (path, f"{path}/delete"):
        assert (await browser.post(address, {"action": "mark_spam"})).status_code == 404
    assert (await browser.get(f"{path}/deliveries", **HTMX)).status_code == 404
    assert (await browser.post(path, {"action": "mark_spam", "csrf": "x"})).status_code == 403
