"""What other sites can do to whoever is signed in to the console, in a real browser: nothing."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import Page, expect

from backend.console.console import PAGES
from tests.support.console import COOKIE, Console, submit
from tests.support.processes import Product, run_formflow

FIELDS = {
    "name": "forged",
    "email": "forged@example.com",
    "role": "viewer",
    "kind": "submission",
    "access": "all",
    "status": "paused",
    "url": "https://evil.example/",
    "format": "formflow",
    "environment": "forged",
    "action": "delete",
    "confirmed": "on",
    "csrf": "guessed",
}
# Answers cannot be read from another origin; that they come back at all is enough.
_POST = """([url, fields]) => fetch(url, {
  method: "POST", mode: "no-cors", credentials: "include", body: new URLSearchParams(fields),
}).then(() => true)"""
_FRAME = """async (url) => {
  const frame = document.createElement("iframe");
  const loaded = new Promise((done) => frame.addEventListener("load", done));
  frame.src = url;
  document.body.append(frame);
  await loaded;
}"""

pytestmark = pytest.mark.timeout(300)


@contextmanager
def neighbour() -> Iterator[str]:
    """Another server of the same host: to browsers the same site, and another origin."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b"<!doctype html><title>neighbour</title><body>"
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def page(console: Console) -> Iterator[Page]:
    """A page of the neighbour, in the browser of somebody who is signed in."""
    context = console.context()
    with neighbour() as origin:
        page = context.new_page()
        page.goto(origin)
        yield page
    context.close()


def test_a_page_on_another_port_can_send_no_form(console: Console, page: Page) -> None:
    before, neighbours = _state(console), page.url
    for each in PAGES:
        if each.method != "POST" or each.is_public:
            continue
        target = console.url + console.seeds.addresses(each.path)[0]
        page.goto(neighbours)
        with page.expect_response(target) as answered:
            submit(page, target, FIELDS)
        answer = answered.value
        # The browser did send the cookie: it is what came with it that was wrong.
        assert f"{COOKIE}={console.token}" in answer.request.all_headers()["cookie"], target
        assert answer.status == 403, target
        assert "This was not sent by a page of the console." in page.inner_text("main")
    assert _state(console) == before


def test_nor_can_its_script(console: Console, page: Page) -> None:
    before, answers = _state(console), list[int]()
    page.on("response", lambda answer: answers.append(answer.status))
    for path in ("/forms", "/sign-out", "/account/sessions/end"):
        assert page.evaluate(_POST, [console.url + path, FIELDS])
    assert answers == [403, 403, 403]
    assert _state(console) == before


def test_nobody_can_put_the_console_into_a_frame(console: Console, page: Page) -> None:
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    for address in ("/overview", "/sign-in", f"/forms/{console.seeds.ids['form_id'][0]}/delete"):
        page.evaluate(_FRAME, console.url + address)
        frame = page.frames[-1]
        assert frame.url == "chrome-error://chromewebdata/"
        assert any("frame-ancestors 'none'" in complaint for complaint in complaints)
        complaints.clear()


def test_a_mail_may_be_framed_by_the_console_only(console: Console, page: Page) -> None:
    [mail, *_] = console.seeds.addresses("/mailbox/{mail_id}/html")
    page.evaluate(_FRAME, console.url + mail)
    assert page.frames[-1].url == "chrome-error://chromewebdata/"
    page.goto(console.url + mail.removesuffix("/html"))
    framed = page.frame(url=console.url + mail)
    assert framed is not None
    assert framed.evaluate("origin") == "null"


def test_a_cookie_planted_before_is_not_the_session_after(console: Console) -> None:
    """Somebody's own session, and one that is none, put into the browser of another."""
    theirs = console.sign_in()
    for planted in (theirs, "ff_ses_planted"):
        context = console.stranger()
        context.add_cookies([{"name": COOKIE, "value": planted, "url": console.url}])
        page = context.new_page()
        page.goto(_link(console.product))
        page.click("button")
        page.wait_for_url("**/overview")
        [cookie] = context.cookies()
        assert cookie.get("value") not in (planted, theirs, console.token)
        assert cookie.get("httpOnly") is True
        assert cookie.get("sameSite") == "Lax"
        assert page.evaluate("document.cookie") == ""
        context.close()


def test_of_two_cookies_none_is_believed(console: Console) -> None:
    """A neighbour can set one for a narrower path, which browsers send first."""
    context = console.context()
    context.add_cookies(
        [{"name": COOKIE, "value": "x", "domain": "127.0.0.1", "path": "/overview"}]
    )
    page = context.new_page()
    page.goto("/overview")
    expect(page.locator("h1")).to_have_text("Sign in")
    context.close()


def test_a_session_that_was_ended_is_none_in_any_tab(console: Console) -> None:
    token = console.sign_in()
    with console.client() as browser:
        browser.cookies = httpx.Cookies({COOKIE: token})
        assert browser.get("/overview").status_code == 200
        headers = {"authorization": f"Bearer {token}"}
        assert browser.delete("/v1/auth/session", headers=headers).status_code == 204
        answer = browser.get("/overview")
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/sign-in")


def test_behind_tls_the_cookie_belongs_to_this_host_alone(tmp_path: Path) -> None:
    origin = "https://forms.example.com"
    product = Product(tmp_path / "data", PUBLIC_URL=origin)
    try:
        product.start()
        [token] = parse_qs(urlsplit(product.first["sign_in_url"]).query)["token"]
        # The proxy that ends TLS is left out.
        url = product.first["backend_url"]
        with httpx.Client(base_url=url, headers={"origin": origin}, timeout=20.0) as browser:
            answer = browser.post("/sign-in/use", data={"token": token})
            assert answer.status_code == 303
            name, _, rest = answer.headers["set-cookie"].partition("=")
            value, *flags = rest.split("; ")
            assert name == f"__Host-{COOKIE}"
            assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= set(flags)
            assert not any(flag.lower().startswith("domain") for flag in flags)
            browser.cookies.clear()
            for kept, status in ((name, 200), (COOKIE, 303)):
                page = browser.get("/overview", headers={"cookie": f"{kept}={value}"})
                assert page.status_code == status
    finally:
        product.stop()


def _link(product: Product) -> str:
    printed = run_formflow("sign-in", DATA_DIR=str(product.data_dir))
    return printed.stdout.strip()


def _state(console: Console) -> dict[str, Any]:
    """All that a member could have changed, as the API has it."""
    lists = ("forms", "submissions", "webhooks", "api-keys", "members", "environments", "audit-log")
    state = {name: console.api("GET", f"/{name}", params={"limit": 100})["data"] for name in lists}
    for submission in state["submissions"]:
        # Links of files, which are made anew for each answer, and what still goes out.
        del submission["files"], submission["deliveries"], submission["trace"]
    for each in state["webhooks"]:
        del each["last_delivery_at"], each["failing_since"]
    for each in state["api-keys"]:
        del each["last_used_at"]
    return state | {"account": console.api("GET", "/account")}
