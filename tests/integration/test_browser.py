"""A plain HTML form, submitted by a real Chromium."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import sync_playwright

from tests.support.processes import Product

PAGE = """<!doctype html><meta charset="{charset}"><title>Contact</title>
<form action="{url}/v1/f/demo" method="post"{enctype}>
  <input name="email" value="ada@example.com">
  <input type="checkbox" name="topic" value="sales" checked>
  <input type="checkbox" name="topic" value="support" checked>
  <textarea name="message"></textarea>
  <input name="_gotcha" style="display:none">
  <button>Send</button>
</form>"""
MESSAGE = "Grüße aus Köln — “quoted”\nsecond line"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


def test_a_plain_form_ends_on_the_thank_you_page_and_is_stored(
    product: Product, chromium: str
) -> None:
    pages = {
        "/urlencoded": PAGE.format(url=product.url, charset="utf-8", enctype=""),
        "/multipart": PAGE.format(
            url=product.url, charset="utf-8", enctype=' enctype="multipart/form-data"'
        ),
    }
    with site(pages) as origin, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        for path in pages:
            page = browser.new_page()
            page.goto(origin + path)
            page.fill("textarea", MESSAGE)
            page.click("button")
            page.wait_for_selector("h1:has-text('Thank you')")
            assert page.url == f"{product.url}/v1/f/demo"
        browser.close()
    payloads = [item["payload"] for item in product.submissions()]
    expected = {
        "email": "ada@example.com",
        "topic": ["sales", "support"],
        "message": MESSAGE.replace("\n", "\r\n"),
    }
    assert payloads == [expected, expected]


@contextmanager
def site(pages: dict[str, str]) -> Iterator[str]:
    """A web server with these pages; yields its origin."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = pages.get(self.path, "").encode()
            self.send_response(200 if body else 404)
            self.send_header("content-type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
