"""Plain HTML forms, submitted by a real Chromium."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.support.processes import Product

MESSAGE = "Grüße aus Köln — “quoted”\nsecond line"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
CONTACT = """<form action="{url}/v1/f/demo" method="post"{enctype}>
  <input name="email" value="ada@example.com">
  <input type="checkbox" name="topic" value="sales" checked>
  <input type="checkbox" name="topic" value="support" checked>
  <input type="checkbox" name="unticked" value="x">
  <input type="radio" name="size" value="s"><input type="radio" name="size" value="l" checked>
  <select name="one"><option>a<option selected>b</select>
  <select name="many" multiple><option selected>x<option>y<option selected>z</select>
  <input type="number" name="number" value="1.50">
  <input type="date" name="date" value="2026-06-10">
  <input type="time" name="time" value="10:23">
  <input type="color" name="colour" value="#1a7f4b">
  <input type="range" name="range" min="0" max="10" value="7">
  <input type="hidden" name="hidden" value="&lt;&amp;&quot;">
  <input type="password" name="password" value="p%+ =&amp;">
  <input name="empty" value="">
  <input name="disabled" value="x" disabled>
  <input name="ünï &quot;code&quot;" value="name">
  <textarea name="message"></textarea>
  {file}
  <input name="_gotcha" style="display:none">
  <button name="action" value="send">Send</button>
</form>"""
EXPECTED = {
    "email": "ada@example.com",
    "topic": ["sales", "support"],
    "size": "l",
    "one": "b",
    "many": ["x", "z"],
    "number": "1.50",
    "date": "2026-06-10",
    "time": "10:23",
    "colour": "#1a7f4b",
    "range": "7",
    "hidden": '<&"',
    "password": "p%+ =&",
    "empty": "",
    'ünï "code"': "name",
    "message": MESSAGE.replace("\n", "\r\n"),
    "action": "send",
}


@pytest.fixture
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield started
        started.close()


def test_each_control_in_each_encoding_ends_on_the_thank_you_page_and_is_stored(
    product: Product, browser: Browser
) -> None:
    multipart = ' enctype="multipart/form-data"'
    pages = {
        "/urlencoded": page_of(CONTACT, url=product.url, enctype="", file=""),
        "/multipart": page_of(CONTACT, url=product.url, enctype=multipart, file=""),
    }
    with site(pages) as origin:
        for path in pages:
            page = browser.new_page()
            page.goto(origin + path)
            page.fill("textarea", MESSAGE)
            send(page)
            assert page.url == f"{product.url}/v1/f/demo"
    assert [item["payload"] for item in product.submissions()] == [EXPECTED, EXPECTED]


def test_a_file_input_is_stored_and_an_empty_one_is_none(
    product: Product, browser: Browser, tmp_path: Path
) -> None:
    chosen = tmp_path / "Lebenslauf – Zoë.txt"
    chosen.write_text("content")
    form = '<input type="file" name="cv"><input type="file" name="letter">'
    multipart = ' enctype="multipart/form-data"'
    pages = {"/": page_of(CONTACT, url=product.url, enctype=multipart, file=form)}
    with site(pages) as origin:
        page = browser.new_page()
        page.goto(origin + "/")
        page.set_input_files("input[name=cv]", chosen)
        send(page)
    [stored] = product.submissions()
    assert [(file["field"], file["name"]) for file in stored["files"]] == [("cv", chosen.name)]


@pytest.mark.parametrize("enctype", ["", ' enctype="multipart/form-data"'])
def test_a_page_of_old_in_windows_1252_loses_no_letter(
    product: Product, browser: Browser, enctype: str
) -> None:
    form = '<form action="{url}/v1/f/demo" method="post"{enctype}><input name="größe" '
    form += 'value="“Übergröße” – 5 €"><button>Send</button></form>'
    pages = {"/": page_of(form, url=product.url, enctype=enctype)}
    with site(pages, charset="windows-1252") as origin:
        page = browser.new_page()
        page.goto(origin + "/")
        send(page)
    [stored] = product.submissions()
    assert stored["payload"] == {"größe": "“Übergröße” – 5 €"}
    assert stored["meta"]["charset_guessed"] is True


def test_a_script_on_another_site_may_post_and_read_every_answer(
    product: Product, browser: Browser
) -> None:
    script = """async ([url, body]) => {
      const answer = await fetch(url, {method: "POST", body: JSON.stringify(body),
        headers: {"Content-Type": "application/json", "Idempotency-Key": "from-a-page"}});
      return [answer.status, (await answer.json()).id ?? null,
              answer.headers.get("Idempotency-Replayed"), answer.headers.get("RateLimit") !== null];
    }"""
    with site({"/": "<title>shop</title>"}) as origin:
        page = browser.new_page()
        page.goto(origin + "/")
        url = f"{product.url}/v1/f/demo"
        first = page.evaluate(script, [url, {"a": "b"}])
        again = page.evaluate(script, [url, {"a": "b"}])
        refused = page.evaluate(script, [f"{product.url}/v1/f/nobody", {}])
    assert first == [200, product.submissions()[0]["id"], None, True]
    assert again == [200, first[1], "true", True]
    assert refused == [404, None, None, False]


def send(page: Page) -> None:
    page.click("button")
    page.wait_for_selector("h1:has-text('Thank you')")


def page_of(form: str, **values: str) -> str:
    return "<!doctype html><title>Contact</title>" + form.format(**values)


@contextmanager
def site(pages: dict[str, str], charset: str = "utf-8") -> Iterator[str]:
    """A web server with these pages; yields its origin."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = pages.get(self.path, "").encode(charset)
            self.send_response(200 if body else 404)
            self.send_header("content-type", f"text/html; charset={charset}")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
