"""Pages on forms: what people see there, and what is then true through the API."""

import html
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from backend.forms.documents import ChangeForm
from backend.forms.fields import FormField
from backend.forms.store import FormRow
from backend.management import Services
from contracts.ids import new_id
from tests.backend.builders import Account, add_account, add_form, add_submission
from tests.backend.console_builders import Browser, browsing, text_of
from tests.backend.webhook_builders import CLOSED
from tests.support.builders import NOW_MS, submission

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
]


@pytest_asyncio.fixture
async def browser(services: Services, account: Account) -> AsyncIterator[Browser]:
    async with browsing(services, account) as signed_in:
        yield signed_in


async def kept(browser: Browser, account: Account, form_id: str) -> dict[str, Any]:
    """The form as the API has it."""
    answer = await browser.client.get(f"/v1/forms/{form_id}", headers=account.headers)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def led_to(answer: httpx.Response) -> str:
    """The path that a browser is sent on to."""
    assert answer.status_code == 303, text_of(answer.text)
    return answer.headers["location"].partition("?")[0]


def inputs_of(page: str) -> dict[str, str | list[str]]:
    """What a browser would send of the page's first form that is posted, untouched."""
    [form] = re.findall(r'(?s)<form method="post".*?</form>', page)[:1]
    sent: dict[str, str | list[str]] = {}
    for tag in re.findall(r"<input[^>]*>", form):
        attributes = dict(re.findall(r'([\w-]+)="([^"]*)"', tag))
        if attributes.get("type") != "checkbox" or " checked" in tag:
            sent[attributes["name"]] = html.unescape(attributes.get("value", ""))
    for name, text in re.findall(r'(?s)<textarea[^>]*name="([^"]*)"[^>]*>(.*?)</textarea>', form):
        sent[name] = html.unescape(text)
    for name, options in re.findall(r'(?s)<select[^>]*name="([^"]*)"[^>]*>(.*?)</select>', form):
        chosen = re.search(r'value="([^"]*)" selected', options)
        sent[name] = chosen[1] if chosen else ""
    return sent


async def test_a_name_is_enough_for_a_form_and_leads_to_code_to_paste(
    browser: Browser, account: Account
) -> None:
    assert "Your first form" in await browser.see("/forms")
    path = led_to(await browser.post("/forms", {"name": "Contact us"}))
    page = await browser.see(path)
    assert "/v1/f/contact-us" in page
    assert '<form action="http://127.0.0.1:8787/v1/f/contact-us" method="post">' in page
    assert "_gotcha" in page
    assert "--data-urlencode email=ada@example.com" in page
    form = await kept(browser, account, path.rpartition("/")[2])
    assert (form["name"], form["status"]) == ("Contact us", "live")
    assert "Contact us contact-us Live" in await browser.see("/forms")


async def test_a_form_can_be_made_with_what_cannot_be_changed_later(
    browser: Browser, account: Account
) -> None:
    wanted = {"name": "Jobs", "slug": "apply", "environment": "staging", "mode": "test"}
    path = led_to(await browser.post("/forms", wanted | {"status": "draft"}))
    form = await kept(browser, account, path.rpartition("/")[2])
    assert wanted.items() <= form.items()
    assert "It is a draft" in await browser.see(path)
    again = await browser.post("/forms", wanted)
    assert again.status_code == 409
    assert "The slug apply is taken" in text_of(again.text)
    assert 'value="Jobs"' in again.text


async def test_a_form_without_a_name_is_asked_for_it(browser: Browser) -> None:
    answer = await browser.post("/forms", {"name": "  "})
    assert answer.status_code == 422
    assert "Name : Fill this in." in text_of(answer.text)


async def test_the_list_shows_what_came_in_and_can_be_narrowed(
    browser: Browser, services: Services, account: Account
) -> None:
    busy = await add_form(services, account, name="Busy")
    await add_form(services, account, name="Quiet", environment="staging", status="paused")
    await services.intake.commit(
        [submission(id=new_id("sub", NOW_MS), form_id=busy.id) for _ in range(3)]
    )
    page = await browser.see("/forms")
    assert "Busy busy Live Production 3 20" in page
    assert "Quiet quiet Paused Staging 0 not in 30 days" in page
    paused = await browser.see("/forms?status=paused")
    assert "Quiet quiet" in paused
    assert "Busy busy" not in paused
    assert "Quiet quiet" in await browser.see("/forms?environment=staging")
    assert "No such form" in await browser.see("/forms?status=draft&environment=staging")


async def test_many_forms_come_in_pages(
    browser: Browser, services: Services, account: Account
) -> None:
    for number in range(26):
        services.clock.advance(1)  # type: ignore[attr-defined]
        await add_form(services, account, name=f"Form {number:02}")
    first = (await browser.get("/forms?environment=production")).text
    assert "Form 25" in first
    assert "Form 00" not in first
    [older] = re.findall(r'href="([^"]*)" rel="next"', first)
    rest = await browser.see(html.unescape(older))
    assert "Form 00" in rest
    assert "Form 25" not in rest


async def test_a_form_shows_its_newest_submissions_and_its_webhooks(
    browser: Browser, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    await services.intake.commit(
        [
            submission(id=new_id("sub", NOW_MS), form_id=form.id, payload='{"text":"<b>Hi</b>"}'),
            submission(id=new_id("sub", NOW_MS), form_id=form.id, status="spam"),
        ]
    )
    await browser.client.post(
        f"/v1/forms/{form.id}/webhooks", json={"url": CLOSED}, headers=account.headers
    )
    answer = await browser.get(f"/forms/{form.id}")
    page = text_of(answer.text)
    assert "Last 30 days 1 Spam, last 30 days 1" in page
    assert "<b>Hi</b>" not in answer.text
    assert "<b>Hi</b>" in page
    assert re.search(r"Webhooks All of them 127\.0\.0\.1\S* Enabled", page)


async def test_what_changes_by_itself_is_sent_only_if_it_has(
    browser: Browser, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    await services.intake.commit([submission(id=new_id("sub", NOW_MS), form_id=form.id)])

    async def ask(path: str) -> httpx.Response:
        return await browser.get(html.unescape(path), **{"HX-Request": "true"})

    [path] = re.findall(
        r'hx-get="([^"]*/activity[^"]*)"', (await browser.get(f"/forms/{form.id}")).text
    )
    assert (await ask(path)).status_code == 204
    later = submission(id=new_id("sub", NOW_MS + 60_000), form_id=form.id)
    await services.intake.commit([later])
    part = await ask(path)
    assert "Last 30 days 2" in text_of(part.text)
    assert "<html" not in part.text
    assert part.text.count('class="unread new"') == 1


async def test_a_form_is_paused_and_resumed(
    browser: Browser, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    path = f"/forms/{form.id}/status"
    for status in ("paused", "live"):
        assert led_to(await browser.post(path, {"status": status})) == f"/forms/{form.id}"
        assert (await kept(browser, account, form.id))["status"] == status
    assert "posts are refused" not in await browser.see(f"/forms/{form.id}")
    assert (await browser.post(path, {"status": "gone"})).status_code == 422


async def test_a_probe_is_prepared_for_a_terminal(
    browser: Browser, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    await with_fields(browser, account, form, [{"name": "email", "type": "email"}])
    answer = await browser.post(f"/forms/{form.id}/probe")
    assert answer.status_code == 200
    line = text_of(answer.text)
    assert re.search(r"-H 'formflow-probe: \d+\.\S+'", line)
    assert "--data-urlencode formflow_probe=1" in line
    assert "/v1/f/contact" in line


async def test_a_copy_has_an_address_of_its_own(
    browser: Browser, services: Services, account: Account
) -> None:
    form = await add_form(services, account, redirect_url="https://example.com/thanks")
    assert "Duplicate this form" in await browser.see(f"/forms/{form.id}/duplicate")
    path = f"/forms/{form.id}/duplicate"
    copy = await kept(browser, account, led_to(await browser.post(path)).rpartition("/")[2])
    assert (copy["name"], copy["slug"]) == ("Contact (copy)", "contact-copy")
    assert copy["redirect_url"] == "https://example.com/thanks"
    taken = await browser.post(path, {"name": "Another", "slug": form.slug})
    assert taken.status_code == 409
    assert 'value="Another"' in taken.text


async def test_deleting_says_first_how_much_goes(
    browser: Browser, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    await add_submission(services, form)
    await add_submission(services, form, status="spam")
    page = await browser.see(f"/forms/{form.id}/delete")
    assert "2 submissions with their files (1 received, 0 held, 1 spam)" in page
    assert "Nobody can take its slug contact for 30 days" in page
    assert (await kept(browser, account, form.id))["id"] == form.id
    assert led_to(await browser.post(f"/forms/{form.id}/delete")) == "/forms"
    assert (await browser.get(f"/forms/{form.id}")).status_code == 404


SECTIONS = ("general", "mail", "afterwards", "protection", "fields", "keeping")
CHANGES: dict[str, dict[str, Any]] = {
    "general": {
        "name": "Talk to us",
        "status": "paused",
        "mode": "test",
        "environment": "staging",
        "idempotency_strict": True,
    },
    "mail": {
        "notify_emails": "ada@example.com,bob@example.com",
        "from_address": "Shop <shop@example.com>",
        "subject_template": "From {{field.name}}",
        "autoresponse_enabled": True,
        "autoresponse_subject": "Thank you",
        "autoresponse_message": "Hello,\n\nsoon.",
        "silence_alarm_enabled": False,
    },
    "afterwards": {
        "redirect_url": "https://example.com/thanks",
        "redirect_hosts": ["www.example.com", "example.org"],
    },
    "protection": {
        "honeypot_enabled": False,
        "honeypot_field": "nickname",
        "turnstile_enabled": True,
        "turnstile_site_key": "0xSITE",
        "turnstile_secret": "0xSECRET",
        "turnstile_skip_with_key": False,
        "turnstile_on_outage": "hold",
        "rate_limit_per_minute": 7,
        "allowed_origins": ["https://www.example.com", "https://*.example.org"],
    },
    "keeping": {"retention_days": 90},
}


def typed(members: dict[str, Any]) -> dict[str, str]:
    """The members as a browser sends them."""
    fields = {}
    for name, value in members.items():
        if isinstance(value, list):
            fields[name] = "\r\n".join(value)
        elif value is not False and value is not None:
            fields[name] = "on" if value is True else str(value)
    return fields


@pytest.mark.parametrize("section", CHANGES)
async def test_each_section_of_the_settings_sets_its_members(
    browser: Browser, services: Services, account: Account, section: str
) -> None:
    form = await add_form(services, account)
    before = await kept(browser, account, form.id)
    path = f"/forms/{form.id}/settings/{section}"
    assert led_to(await browser.post(path, typed(CHANGES[section]))) == path
    assert "Saved." in await browser.see(f"{path}?notice=saved")
    expected = dict(CHANGES[section])
    if expected.pop("turnstile_secret", None):
        expected["has_turnstile_secret"] = True
    after = await kept(browser, account, form.id)
    del before["updated_at"], after["updated_at"]
    assert after == before | expected


async def test_the_settings_can_change_every_member_that_the_api_can(
    browser: Browser, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    names: set[str] = set()
    for section in SECTIONS:
        page = (await browser.get(f"/forms/{form.id}/settings/{section}")).text
        names |= set(re.findall(r' name="(\w+)"', page))
    # The editor of the fields is a test of its own.
    assert names | {"fields"} >= set(ChangeForm.model_fields)


@pytest.mark.parametrize("section", SECTIONS)
async def test_saving_a_section_untouched_changes_nothing(
    browser: Browser, services: Services, account: Account, section: str
) -> None:
    members = {name: value for each in CHANGES.values() for name, value in each.items()}
    fields = [{"name": "age", "type": "integer", "min": 0}, {"name": "cv", "type": "file"}]
    form = await browser.client.post(
        "/v1/forms", json=members | {"fields": fields}, headers=account.headers
    )
    id = form.json()["id"]
    before = await kept(browser, account, id)
    path = f"/forms/{id}/settings/{section}"
    sent = inputs_of((await browser.get(path)).text)
    if section == "fields":
        sent["do"] = "save"
    assert led_to(await browser.post(path, sent)) == path
    after = await kept(browser, account, id)
    del before["updated_at"], after["updated_at"]
    assert after == before


@pytest.mark.parametrize(
    ("section", "fields", "member", "message"),
    [
        ("general", {"name": ""}, "name", "Fill this in."),
        ("mail", {"notify_emails": "ada"}, "notify_emails", "Give e-mail addresses"),
        ("mail", {"subject_template": "{{nothing}}"}, "subject_template", "Placeholders are"),
        ("afterwards", {"redirect_url": "example.com"}, "redirect_url", "This does not look"),
        ("afterwards", {"redirect_hosts": "a.org\nb/c"}, "redirect_hosts", "No. 2: This does not"),
        ("protection", {"rate_limit_per_minute": "many"}, "rate_limit_per_minute", "whole number"),
        ("protection", {"turnstile_enabled": "on"}, "turnstile_enabled", "first."),
        ("keeping", {"retention_days": "0"}, "retention_days", "greater than or equal to 1"),
    ],
)
async def test_a_fault_is_shown_at_its_field_and_nothing_is_saved(
    browser: Browser,
    services: Services,
    account: Account,
    section: str,
    fields: dict[str, str | list[str]],
    member: str,
    message: str,
) -> None:
    form = await add_form(services, account)
    before = await kept(browser, account, form.id)
    path = f"/forms/{form.id}/settings/{section}"
    sent = inputs_of((await browser.get(path)).text) | fields
    answer = await browser.post(path, sent)
    assert answer.status_code == 422
    [fault] = re.findall(rf'<p class="fault" id="{member}-fault">([^<]*)</p>', answer.text)
    assert message in html.unescape(fault)
    resent = inputs_of(answer.text)
    assert {name: resent[name] for name in fields} == fields
    assert await kept(browser, account, form.id) == before


async def test_the_secret_of_turnstile_is_never_shown_and_stays_until_it_is_replaced(
    browser: Browser, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    path = f"/forms/{form.id}/settings/protection"
    assert "None is set." in await browser.see(path)
    sent = inputs_of((await browser.get(path)).text)
    on = sent | {"turnstile_enabled": "on", "turnstile_site_key": "0xSITE"}
    assert led_to(await browser.post(path, on | {"turnstile_secret": "0xSECRET"})) == path
    answer = await browser.get(path)
    assert "A secret is set" in answer.text
    assert "0xSECRET" not in answer.text
    assert led_to(await browser.post(path, inputs_of(answer.text))) == path
    assert (await kept(browser, account, form.id))["has_turnstile_secret"]
    assert 'data-sitekey="0xSITE"' in await browser.see(f"/forms/{form.id}")
    assert led_to(await browser.post(path, sent | {"forget_secret": "on"})) == path
    assert not (await kept(browser, account, form.id))["has_turnstile_secret"]


FIELDS: list[dict[str, Any]] = [
    {"name": "email", "type": "email", "label": "Your address", "required": True},
    {"name": "age", "type": "integer", "min": 0, "max": 120},
    {"name": "size", "type": "number", "min": 0.5},
    {"name": "day", "type": "date", "max": "2030-12-31"},
    {"name": "about", "type": "text", "min_length": 2, "max_length": 900, "pattern": "[^<>]*"},
    {"name": "topic", "type": "checkbox", "options": ["a", "b c"], "multiple": True},
    {"name": "cv", "type": "file", "multiple": True, "max_items": 3},
]


async def with_fields(
    browser: Browser, account: Account, form: FormRow, fields: list[dict[str, Any]]
) -> str:
    """Declares fields through the API; the path of their page."""
    answer = await browser.client.patch(
        f"/v1/forms/{form.id}", json={"fields": fields}, headers=account.headers
    )
    assert answer.status_code == 200, answer.text
    return f"/forms/{form.id}/settings/fields"


async def declared(browser: Browser, account: Account, form: FormRow) -> list[dict[str, Any]]:
    """The fields that the form declares, without what goes without saying."""
    fields = (await kept(browser, account, form.id))["fields"]
    return [
        {"name": field["name"], "type": field["type"]}
        | FormField(**field).model_dump(exclude_defaults=True)
        for field in fields
    ]


async def test_fields_are_declared_row_by_row_without_a_script(
    browser: Browser, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    path = f"/forms/{form.id}/settings/fields"
    assert "No fields are declared" in await browser.see(path)
    page = await browser.post(path, {"do": "add"})
    assert "Not saved yet." in text_of(page.text)
    sent = inputs_of(page.text) | {"name-0": "email", "type-0": "email", "required-0": "on"}
    page = await browser.post(path, sent | {"do": "add"})
    sent = inputs_of(page.text)
    assert (sent["name-0"], sent["type-0"], sent["required-0"]) == ("email", "email", "on")
    assert await declared(browser, account, form) == []
    sent |= {"name-1": "topic", "type-1": "select", "options-1": "sales\r\n\r\npress\r\n"}
    saved = await browser.post(path, sent | {"do": "save", "enforce_fields": "on"})
    assert led_to(saved) == path
    assert await declared(browser, account, form) == [
        {"name": "email", "type": "email", "required": True},
        {"name": "topic", "type": "select", "options": ["sales", "press"]},
    ]
    assert (await kept(browser, account, form.id))["enforce_fields"]


async def test_all_that_fields_say_comes_through_the_editor(
    browser: Browser, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    path = await with_fields(browser, account, form, FIELDS)
    sent = inputs_of((await browser.get(path)).text)
    assert led_to(await browser.post(path, sent | {"do": "save"})) == path
    assert await declared(browser, account, form) == FIELDS


@pytest.mark.parametrize(
    ("button", "order"),
    [
        ("remove-0", ["b", "c"]),
        ("remove-2", ["a", "b"]),
        ("up-2", ["a", "c", "b"]),
        ("down-0", ["b", "a", "c"]),
        ("up-0", ["a", "b", "c"]),
        ("remove-9", ["a", "b", "c"]),
        ("nonsense", ["a", "b", "c"]),
    ],
)
async def test_rows_are_moved_and_removed(
    browser: Browser, services: Services, account: Account, button: str, order: list[str]
) -> None:
    form = await add_form(services, account)
    path = await with_fields(browser, account, form, [{"name": name} for name in "abc"])
    sent = inputs_of((await browser.get(path)).text)
    page = inputs_of((await browser.post(path, sent | {"do": button})).text)
    assert [page[f"name-{number}"] for number in range(len(order))] == order
    assert f"name-{len(order)}" not in page


async def test_the_page_of_many_fields_is_light_and_has_room_for_no_more(
    browser: Browser, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    many = [{"name": f"field-{number}"} for number in range(40)]
    answer = await browser.get(await with_fields(browser, account, form, many))
    assert len(answer.content) < 100_000
    assert "Add a field" not in text_of(answer.text)


async def test_a_fault_of_a_field_is_shown_in_its_row(
    browser: Browser, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    path = await with_fields(browser, account, form, FIELDS[:3])
    sent = inputs_of((await browser.get(path)).text) | {"least-1": "many", "pattern-2": "["}
    answer = await browser.post(path, sent | {"do": "save"})
    assert answer.status_code == 422
    rows = re.findall(r'(?s)<ul class="fault plain-list" id="faults-(\d)">(.*?)</ul>', answer.text)
    assert [(number, text_of(text)) for number, text in rows] == [
        ("1", "min and max of integer are numbers."),
        ("2", "pattern is for email, tel, text, url, not for number."),
    ]
    assert inputs_of(answer.text)["least-1"] == "many"
    assert await declared(browser, account, form) == FIELDS[:3]


async def test_fields_can_be_given_as_json(
    browser: Browser, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    path = f"/forms/{form.id}/settings/fields"
    text = '[{"name": "email", "type": "email"}]'
    assert led_to(await browser.post(path, {"do": "json", "fields_json": text})) == path
    assert await declared(browser, account, form) == [{"name": "email", "type": "email"}]
    for bad, message in (
        ("[", "This is not valid JSON"),
        ('[{"name": "x", "type": "colour"}]', "No. 1: Input should be 'text'"),
        ("7", "Input should be a valid list"),
    ):
        answer = await browser.post(path, {"do": "json", "fields_json": bad})
        assert answer.status_code == 422
        assert message in text_of(answer.text)
        assert html.escape(bad, quote=False) in answer.text.replace("&#34;", '"')


@pytest.mark.parametrize(
    "fields",
    [
        [{"name": "x", "type": "select", "options": ["one\ntwo"]}],
        [{"name": f"field-{number}"} for number in range(41)],
    ],
    ids=["an option of two lines", "too many"],
)
async def test_fields_that_rows_cannot_hold_are_shown_as_json_only(
    browser: Browser, services: Services, account: Account, fields: list[dict[str, Any]]
) -> None:
    form = await add_form(services, account)
    path = await with_fields(browser, account, form, fields)
    page = await browser.see(path)
    assert "shown as JSON only" in page
    assert "Add a field" not in page


async def test_declared_fields_are_in_the_code_to_paste(
    browser: Browser, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    await with_fields(
        browser, account, form, [*FIELDS, {"name": 'a"><script>', "label": "</label>"}]
    )
    answer = await browser.get(f"/forms/{form.id}")
    assert "<script>" not in answer.text
    [code] = re.findall(r'(?s)id="code-html"><code>(.*?)</code>', answer.text)
    code = html.unescape(code)
    assert 'enctype="multipart/form-data"' in code
    assert '<input type="email" name="email" required>' in code
    assert '<input type="number" name="age" min="0" max="120">' in code
    assert '<input type="checkbox" name="topic" value="b c"> b c' in code
    assert '<input type="text" name="a&#34;&gt;&lt;script&gt;">' in code
    assert "&lt;/label&gt;" in code


async def test_who_may_only_look_sees_no_way_to_change(
    services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    async with browsing(services, account, "viewer") as browser:
        assert "Create" not in await browser.see("/forms")
        page = await browser.see(f"/forms/{form.id}")
        assert "Pause" not in page
        assert "Duplicate" not in page
        for section in SECTIONS:
            answer = await browser.get(f"/forms/{form.id}/settings/{section}")
            assert "You can look at these settings" in answer.text
            assert "Save" not in re.sub(r'<button class="for-readers".*?</button>', "", answer.text)
        for path, fields in (
            ("/forms", {"name": "Mine"}),
            (f"/forms/{form.id}/status", {"status": "paused"}),
            (f"/forms/{form.id}/duplicate", {}),
            (f"/forms/{form.id}/delete", {}),
            (f"/forms/{form.id}/settings/general", {"name": "Mine"}),
            (f"/forms/{form.id}/settings/fields", {"do": "save"}),
        ):
            assert (await browser.post(path, fields)).status_code == 403, path
        for path in ("/forms/new", f"/forms/{form.id}/duplicate", f"/forms/{form.id}/delete"):
            assert (await browser.get(path)).status_code == 403, path
        assert (await kept(browser, account, form.id))["name"] == "Contact"


async def test_who_may_see_forms_and_nothing_else_gets_the_pages(
    services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    async with browsing(services, account, rights=["forms:read"]) as browser:
        assert "Contact contact Live" in await browser.see("/forms")
        page = await browser.see(f"/forms/{form.id}")
        assert "Newest submissions" not in page
        assert "Last 30 days" not in page
    rights = ["forms:read", "forms:write"]
    async with browsing(services, account, rights=rights) as browser:
        assert "all its submissions" in await browser.see(f"/forms/{form.id}/delete")


async def test_anothers_form_is_missing_on_every_page(browser: Browser, services: Services) -> None:
    foreign = await add_form(services, await add_account(services))
    for id in (foreign.id, new_id("frm", 1), "nonsense"):
        for path in ("", "/activity", "/settings", "/duplicate", "/delete"):
            assert (await browser.get(f"/forms/{id}{path}")).status_code == 404, path
        for path, fields in (
            ("/status", {"status": "paused"}),
            ("/duplicate", {}),
            ("/delete", {}),
            ("/settings/general", {"name": "Mine", "status": "live", "mode": "live"}),
            ("/settings/fields", {"do": "save"}),
        ):
            fields = {"environment": "production"} | fields
            assert (await browser.post(f"/forms/{id}{path}", fields)).status_code == 404, path


async def test_there_are_no_other_sections(
    browser: Browser, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    assert (await browser.get(f"/forms/{form.id}/settings/nothing")).status_code == 404


async def test_a_form_without_the_token_of_its_page_changes_nothing(
    browser: Browser, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    for path in ("/delete", "/status", "/settings/general"):
        answer = await browser.post(f"/forms/{form.id}{path}", {"csrf": "", "status": "paused"})
        assert answer.status_code == 403
    assert (await kept(browser, account, form.id))["status"] == "live"
