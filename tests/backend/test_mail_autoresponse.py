"""The answer to a visitor."""

from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from backend.delivery.attempts import (
    AUTORESPONSE,
    Verdict,
)
from backend.mail.autoresponse import address_digest, autoresponse_recipient
from backend.management import Services
from tests.backend.builders import Account, add_form, add_submission, create_form
from tests.backend.mail_builders import (
    PAYLOAD,
    attempted,
    mail_about,
    mail_of,
    mailing,
    parts_of,
)
from tests.support.mini_smtp import serving

pytestmark = pytest.mark.asyncio


async def test_the_usual_answer_to_a_visitor(services: Services, account: Account) -> None:
    form = await add_form(services, account, name="Internal name", autoresponse_enabled=True)
    submission_id = await add_submission(services, form, payload=PAYLOAD)
    delivery = mail_about(form, submission_id, event=AUTORESPONSE, recipient=None)
    async with serving() as mini:
        relay = SecretStr(f"smtp://127.0.0.1:{mini.port}")
        sender = mailing(services, smtp_url=relay).mail_sender
        attempt = await sender.send(delivery, services.clock.now_ms())
        await sender.close()
    assert attempt.verdict is Verdict.DELIVERED
    [received] = mini.received
    assert (received.sender, received.recipients) == ("<>", ["zoe@example.net"])
    message = received.message
    assert message["To"] == "zoe@example.net"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["Precedence"] == "bulk"
    assert message["Reply-To"] is None
    assert message["List-Unsubscribe"] is None
    content = "".join([message["Subject"], *parts_of(message)])
    assert "thank you for your message" in content
    # Nothing that the visitor wrote, nor how the owner calls the form.
    for value in ("Zoë", "Grüße", "sales", "Internal name"):
        assert value not in content


async def test_an_answer_names_what_the_owner_wants_and_spreads_nothing(
    services: Services, account: Account
) -> None:
    form = await add_form(
        services,
        account,
        name="Shop",
        from_address="Shop <shop@example.org>",
        autoresponse_enabled=True,
        autoresponse_subject="Hello {{field.name}}",
        autoresponse_message="Dear {{field.name}},\n\nsee https://shop.example.org/faq\n{{form.name}}",
    )
    bait = "Win at https://evil.example/x\r\nBcc: all@example.com {{field.email}} <a href=//e.vil>"
    payload = {"name": bait + "y" * 500, "email": "ada@example.com"}
    submission_id = await add_submission(services, form, payload=payload)
    delivery = mail_about(form, submission_id, event=AUTORESPONSE, recipient=None)
    message = await mail_of(services, form, delivery)
    assert message["From"] == "Shop <shop@example.org>"
    assert message["Bcc"] is None
    text, page = parts_of(message)
    assert "see https://shop.example.org/faq\nShop\n" in text
    for part in (message["Subject"], text, page):
        assert "Win at" in part
        assert "evil.example" not in part
        assert "://evil" not in part
        assert "all@example.com" not in part
        assert "ada@example.com" not in part
        assert "y" * 100 not in part
    assert "<a " not in page


async def test_an_answer_that_is_not_wanted_any_more_is_obsolete(
    services: Services, account: Account
) -> None:
    form = await add_form(services, account, autoresponse_enabled=True)
    own = await add_submission(services, form, payload={"email": "FORMS@example.com"})
    theirs = await add_submission(services, form)
    for submission_id in (own, theirs):
        if submission_id == theirs:
            changes = {"autoresponse_enabled": False}
            await services.forms.change(account.principal, form.id, changes)
        delivery = mail_about(form, submission_id, event=AUTORESPONSE)
        assert (await attempted(services, delivery)).verdict is Verdict.OBSOLETE


async def test_who_is_answered() -> None:
    assert autoresponse_recipient({"email": "Ada@Example.com"}) == "Ada@Example.com"
    for nobody in ("", "x", "a@b.c,d@e.f", ["a@b.c"], None, "MAILER-DAEMON@b.c", "noreply@b.c"):
        assert autoresponse_recipient({"email": nobody}) is None
    assert autoresponse_recipient({}) is None
    same = {address_digest(text) for text in ("a@b.c", "A@B.c", "a+1@b.c", "a+x+y@b.C")}
    assert len(same) == 1
    assert address_digest("b@b.c") not in same


async def test_a_form_says_whether_and_how_visitors_are_answered(client: httpx.AsyncClient) -> None:
    form = await create_form(client)
    names = ("autoresponse_enabled", "autoresponse_subject", "autoresponse_message")
    assert [form[name] for name in names] == [False, None, None]
    path = f"/v1/forms/{form['id']}"
    given = dict(zip(names, (True, "Hi {{field.name}}", "Two\nlines, {{form.name}}"), strict=True))
    changed = (await client.patch(path, json=given)).json()
    assert {name: changed[name] for name in names} == given
    copy = (await client.post(f"{path}/duplicate", json={})).json()
    assert {name: copy[name] for name in names} == given
    cleared = (await client.patch(path, json={names[1]: None, names[2]: None})).json()
    assert [cleared[name] for name in names] == [True, None, None]


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("autoresponse_subject", "{{visitor}}", "bad_placeholder"),
        ("autoresponse_subject", "two\nlines", "string_pattern_mismatch"),
        ("autoresponse_subject", "", "string_pattern_mismatch"),
        ("autoresponse_message", "{{field.name", "bad_placeholder"),
        ("autoresponse_message", "{% raw %}\0", "string_pattern_mismatch"),
        ("autoresponse_message", "x" * 5_001, "string_too_long"),
        ("autoresponse_enabled", "yes", "bool_type"),
    ],
)
async def test_an_answer_that_cannot_be_is_refused(
    client: httpx.AsyncClient, name: str, value: Any, code: str
) -> None:
    answer = await client.post("/v1/forms", json={"name": "Contact", name: value})
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert (error["field"], error["code"]) == (name, code)
