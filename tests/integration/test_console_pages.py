"""Every page of the console in a real browser: accessible, within its policy, as wide as a phone,
small, and leading nowhere that is not there."""

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from backend.console.console import PAGES
from backend.sessions.csrf import FIELD, csrf_token
from tests.support.console import PHONE, WIDE, Console, pages_of, submit, watch

PAGE_BYTES_MAX = 100_000
HEIGHT = 900
_AXE = Path(__file__).parents[1] / "clients/node_modules/axe-core/axe.min.js"
# A mail is shown in a frame that no script may enter.
_RUN = """async (only) => (await axe.run({...only, iframes: false, resultTypes: ["violations"]}))
  .violations.map((found) => `${found.id} (${found.impact}): ${found.help}: ` +
  found.nodes.map((node) => node.target.join(" ")).slice(0, 3).join("; "))"""
_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
_ALL = {"runOnly": {"type": "tag", "values": _TAGS}}
_COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast"]}}
_OVERFLOW = "document.documentElement.scrollWidth - window.innerWidth"

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def axe() -> str:
    if not _AXE.exists():
        pytest.skip("no npm on this machine to install axe-core")
    return _AXE.read_text()


@pytest.fixture
def page(console: Console) -> Iterator[Page]:
    context = console.context()
    yield context.new_page()
    context.close()


def test_no_page_breaks_a_rule_of_accessibility_in_any_light_or_width(
    console: Console, page: Page, axe: str
) -> None:
    complaints = watch(page, console.url)
    found: dict[str, Any] = {}
    for address in pages_of(console, most=3):
        answer = page.goto(address)
        assert answer is not None
        assert answer.status == 200, address
        if wrong := [*_faults(page, axe), *complaints]:
            found[address] = wrong
        complaints.clear()
    assert found == {}


def test_nor_does_what_a_form_is_answered(console: Console, page: Page, axe: str) -> None:
    complaints = watch(page, console.url)
    found: dict[str, Any] = {}
    token = csrf_token(console.token)
    for address, status, fields in _answered(console):
        page.goto("/overview")
        with page.expect_navigation() as navigation:
            submit(page, address, {FIELD: token} | fields)
        assert navigation.value is not None
        assert navigation.value.status == status, (address, page.inner_text("main"))
        # The browser's console has every answer that is no 2xx.
        others = [each for each in complaints if f"status of {status}" not in each]
        if wrong := [*_faults(page, axe), *others]:
            found[f"{address} {fields}"] = wrong
        complaints.clear()
    assert found == {}


def _answered(console: Console) -> list[tuple[str, int, dict[str, str]]]:
    """Forms whose answer is a page: what is shown once, what is asked first, what is refused."""
    ids = console.seeds.ids
    form, key, hook = ids["form_id"][0], ids["key_id"][-1], ids["webhook_id"][0]
    target = {"form_id": form, "url": f"{console.receiver}/ok", "format": "formflow"}
    ticked = {"action": "delete", "ids": ids["submission_id"][0]}
    return [
        ("/api-keys", 200, {"name": "shown", "kind": "submission"}),
        (f"/api-keys/{key}/rotate", 200, {"grace_hours": "1"}),
        ("/webhooks/new", 201, target),
        (f"/webhooks/{hook}/rotate-secret", 200, {}),
        ("/members", 200, {"email": "shown@example.com", "role": "viewer"}),
        ("/submissions", 200, ticked),
        (f"/forms/{form}/settings/fields", 200, {"do": "add"}),
        ("/forms", 422, {"name": "x", "slug": "Not one"}),
        (f"/forms/{form}/settings/protection", 422, {"rate_limit_per_minute": "0"}),
        (f"/forms/{form}/settings/fields", 422, {"do": "json", "fields_json": "[1]"}),
        ("/api-keys", 422, {"name": "x", "kind": "submission", "burst": "0"}),
        ("/webhooks/new", 422, target | {"url": "nowhere"}),
        ("/members", 422, {"email": "nobody", "role": "viewer"}),
        ("/account/environments", 422, {"environment": "Not one"}),
        ("/forms/frm_00000000000000000000000000/delete", 404, {}),
    ]


def _faults(page: Page, axe: str) -> list[str]:
    """What is wrong with the page that is shown, in any light or width."""
    page.evaluate(axe)
    wrong: list[str] = page.evaluate(_RUN, _ALL)
    page.emulate_media(color_scheme="dark")
    wrong += page.evaluate(_RUN, _COLOURS)
    page.set_viewport_size({"width": PHONE, "height": HEIGHT})
    wrong += page.evaluate(_RUN, _ALL)
    overflow = page.evaluate(_OVERFLOW)
    if overflow > 0:
        wrong.append(f"{overflow} px wider than a phone")
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": WIDE, "height": HEIGHT})
    return sorted(set(wrong))


def test_every_link_and_form_leads_somewhere(console: Console) -> None:
    posts = [
        re.compile(re.sub(r"{\w+}", "[^/]+", page.path)) for page in PAGES if page.method == "POST"
    ]
    broken = {}
    with console.client() as browser:
        seen: dict[str, int] = {}
        for address in pages_of(console):
            answer = browser.get(address)
            text = answer.text
            assert len(answer.content) < PAGE_BYTES_MAX, address
            for attribute, headers in (("href", {}), ("hx-get", {"hx-request": "true"})):
                for target in _values(attribute, text):
                    if not target.startswith("/"):
                        continue
                    if target not in seen:
                        seen[target] = browser.get(target, headers=headers).status_code
                    if seen[target] not in (200, 204, 303):
                        broken[f"{address} → {target}"] = seen[target]
            for form in re.findall(r"<form[^>]* method=\"post\"[^>]*>", text):
                [action] = _values("action", form) or {address}
                if not any(post.fullmatch(action.partition("?")[0]) for post in posts):
                    broken[f"{address} → POST {action}"] = 404
    assert broken == {}
    assert len(seen) > 100


def _values(attribute: str, text: str) -> set[str]:
    found = re.findall(rf'\s{attribute}="([^"]*)"', text)
    return {unescape(value).partition("#")[0] for value in found}
