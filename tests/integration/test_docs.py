"""``/docs`` in a real browser: it shows every operation, and its policy is kept."""

from collections.abc import Iterator
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from backend.management import OPERATIONS
from tests.integration.test_browser import FLAGS
from tests.support.processes import Product

SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


@pytest.fixture
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield started
        started.close()


@pytest.mark.timeout(300)
def test_it_shows_every_operation_and_asks_nobody_else(product: Product, browser: Browser) -> None:
    for scheme in SCHEMES:
        page = browser.new_page(color_scheme=scheme)
        complaints, asked = watch(page)
        page.goto(f"{product.url}/docs")
        page.wait_for_selector(".opblock")
        # Besides, the document has the ingest endpoint and what processes tell of themselves.
        assert page.locator(".opblock").count() == len(OPERATIONS) + 4
        page.click("#operations-forms-create_form .opblock-summary-control")
        page.wait_for_selector("#operations-forms-create_form .opblock-body")
        assert "Idempotency-Key" in page.inner_text("#operations-forms-create_form")
        assert complaints == []
        assert asked
        assert all(url.startswith((product.url, "data:")) for url in asked)
        page.close()


def watch(page: Page) -> tuple[list[str], list[str]]:
    """What the page's console complains of, and the addresses it asks."""
    complaints: list[str] = []
    asked: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console",
        lambda message: complaints.append(message.text) if message.type == "error" else None,
    )
    page.on("request", lambda request: asked.append(request.url))
    return complaints, asked
