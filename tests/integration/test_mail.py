"""Mails of a running product: who gets them, and how a browser shows what people wrote."""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import Browser, Dialog, Page, sync_playwright

from tests.backend.mail_builders import answer, everywhere
from tests.integration.test_browser import FLAGS
from tests.support.mini_smtp import PASSWORD, USER, serving, tls_context
from tests.support.naughty import NAUGHTY
from tests.support.processes import Product, run_formflow, until

MAIL_PROGRAM = "http://mail.invalid/"
LOGIN = f"{quote(USER, safe='')}:{quote(PASSWORD, safe='')}"


def mails(product: Product) -> list[dict[str, Any]]:
    """Every mail in the mailbox, the newest first, whole."""
    with product.manager() as manager:
        page = manager.get("/v1/mailbox?limit=100").raise_for_status().json()
        return [manager.get(f"/v1/mailbox/{mail['id']}").json() for mail in page["data"]]


def post(product: Product, **fields: str) -> None:
    with product.client(accept="application/json") as client:
        client.post("/v1/f/demo", data=fields).raise_for_status()


def change_form(product: Product, **members: Any) -> None:
    with product.manager() as manager:
        path = f"/v1/forms/{product.first['demo_form_id']}"
        manager.patch(path, json=members).raise_for_status()


def test_a_post_becomes_a_mail_whose_link_unsubscribes(product: Product) -> None:
    change_form(product, notify_emails="ada@example.com,bob@example.com")
    post(product, email="visitor@example.net", message="Hello there")
    until(lambda: len(mails(product)) == 2)
    found = {mail["to"]: mail for mail in mails(product)}
    assert found.keys() == {"ada@example.com", "bob@example.com"}
    for mail in found.values():
        headers = {header["name"]: header["value"] for header in mail["headers"]}
        assert headers["Reply-To"] == "visitor@example.net"
        assert "Hello there" in mail["text"]
        assert "Hello there" in mail["html"]
    shown = run_formflow("mailbox", "list", "--json", "--data", str(product.data_dir))
    assert {mail["id"] for mail in json.loads(shown.stdout)} == {
        mail["id"] for mail in found.values()
    }
    printed = run_formflow(
        "mailbox", "show", found["bob@example.com"]["id"], "--data", str(product.data_dir)
    )
    assert printed.stdout.strip() == found["bob@example.com"]["text"].strip()
    link = re.search(r"^Unsubscribe: (\S+)$", found["bob@example.com"]["text"], re.MULTILINE)
    assert link is not None
    assert httpx.post(link[1]).status_code == 200
    post(product, message="Once more")
    # To ada, and to the owner that bob has left.
    until(lambda: len(mails(product)) == 4)
    later = mails(product)[:2]
    assert sorted(mail["to"] for mail in later) == ["ada@example.com", "owner@localhost"]
    [notice] = [mail for mail in later if mail["to"] == "owner@localhost"]
    assert "bob@example.com gets no more mails of" in notice["subject"]


def test_a_visitor_is_answered_once_a_day(product: Product) -> None:
    change_form(product, notify_emails="", autoresponse_enabled=True)
    for index in range(3):
        post(product, email="Visitor@example.net", message=str(index))
    post(product, email="other@example.net")
    until(lambda: len(mails(product)) == 2)
    to = sorted(mail["to"] for mail in mails(product))
    assert to == ["Visitor@example.net", "other@example.net"]


@pytest.mark.asyncio
async def test_mails_go_out_by_smtp_and_doctor_looks_at_the_server(tmp_path: Path) -> None:
    context, certificate = tls_context(tmp_path)
    async with serving(context, auth_required=True) as mini:
        url = f"smtp://{LOGIN}@127.0.0.1:{mini.port}/?starttls=require"
        product = Product(tmp_path / "data", SMTP_URL=url, MAIL_FROM="Forms <forms@example.com>")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SSL_CERT_FILE", str(certificate))
            await asyncio.to_thread(product.start)
            try:
                await asyncio.to_thread(change_form, product, notify_emails="ada@example.com")
                await asyncio.to_thread(post, product, message="canary of the mails")
                await asyncio.to_thread(until, lambda: bool(mini.received))
                doctor = await asyncio.to_thread(
                    run_formflow, "doctor", SMTP_URL=url, DATA_DIR=str(tmp_path / "data")
                )
            finally:
                await asyncio.to_thread(product.stop)
    [mail] = mini.received
    assert (mail.sender, mail.recipients) == ("forms@example.com", ["ada@example.com"])
    assert mail.is_private
    assert "canary of the mails" in mail.message.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    assert mini.logins == [USER, USER]
    assert f"mail: smtp://127.0.0.1:{mini.port} lets us in; no mail was sent" in doctor.stdout
    for secret in (PASSWORD, quote(PASSWORD, safe=""), "canary", "ada@example.com"):
        assert secret not in product.log + doctor.stdout


def test_doctor_names_a_server_that_is_not_there(tmp_path: Path) -> None:
    done = run_formflow(
        "doctor", DATA_DIR=str(tmp_path), SMTP_URL=f"smtp://{LOGIN}@127.0.0.1:9/?starttls=off"
    )
    [line] = [line for line in done.stdout.splitlines() if line.startswith("BAD  mail")]
    assert "127.0.0.1 on port 9" in line
    assert USER not in done.stdout
    assert quote(PASSWORD, safe="") not in done.stdout


@pytest.mark.parametrize(
    ("name", "value"),
    [("SMTP_URL", "smtp://mailer:hunter2@host/path"), ("MAIL_FROM", "hunter2 is no address")],
)
def test_a_setting_that_no_mail_could_go_by_is_refused_at_the_start(
    tmp_path: Path, name: str, value: str
) -> None:
    settings = {"DATA_DIR": str(tmp_path / "data"), name: value}
    done = run_formflow("backend", PORT="0", INTERNAL_TOKEN="a-token-for-the-tests", **settings)
    assert done.returncode == 1
    assert f"FORMFLOW_{name}: " in done.stderr
    assert "hunter2" not in done.stderr


@pytest.fixture
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def trap(browser: Browser) -> tuple[Page, list[str]]:
    """A page, and all that happens in it beside being shown."""
    page = browser.new_page()
    events: list[str] = []

    def dismiss(dialog: Dialog) -> None:
        events.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", dismiss)
    page.on("console", lambda message: events.append(message.text))
    page.on("pageerror", lambda error: events.append(str(error)))
    page.on("request", lambda request: events.append(request.url))
    page.on("framenavigated", lambda frame: events.append(frame.url))
    page.route("**", lambda route: route.fulfill(body="", content_type="text/html"))
    # Not about:blank: what names a host alone would lead nowhere there.
    page.goto(MAIL_PROGRAM)
    events.clear()
    return page, events


@pytest.mark.timeout(240)
def test_nothing_that_people_write_runs_or_asks_for_anything(
    trap: tuple[Page, list[str]],
) -> None:
    page, events = trap
    page.set_content("<script>alert('the trap works')</script><img src=//evil.invalid/x>")
    assert events[0] == "the trap works"
    assert any("evil.invalid" in event for event in events)
    events.clear()
    for text in NAUGHTY:
        for letter in (everywhere(text), answer(text)):
            page.set_content(letter.html)
    page.evaluate(
        "document.querySelectorAll('*').forEach(e => e.dispatchEvent(new Event('click')))"
    )
    assert events == []
