"""The console by keyboard alone, with a script and without: what people do most, step by step."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.support.console import Console
from tests.support.processes import run_formflow

TABS_MAX = 150
# What the focus is on: what a screen reader calls it, and whether it can be seen to be there.
_FOCUSED = """() => {
  const each = document.activeElement;
  const style = getComputedStyle(each);
  const label = each.labels?.[0];
  const box = each.getBoundingClientRect();
  const shown = label ?? each;
  const visible = shown.getBoundingClientRect();
  return {
    tag: each.tagName,
    name: (each.getAttribute("aria-label") ?? label?.innerText ?? (each.innerText || each.value)
      ).split("\\n")[0].trim(),
    isOutlined: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
    isInView: visible.bottom > 0 && visible.top < innerHeight && box.right > 0,
  };
}"""

pytestmark = pytest.mark.timeout(300)


class Keyboard:
    """Somebody who has no mouse, before a page."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def to(self, name: str, tag: str = "") -> None:
        """Goes on with Tab to what has the name; whatever the focus is on must be seen."""
        self.page.wait_for_load_state()
        for _ in range(TABS_MAX):
            self.page.keyboard.press("Tab")
            found = self.page.evaluate(_FOCUSED)
            if found["tag"] == "BODY":
                continue
            assert found["isOutlined"], found
            assert found["isInView"], found
            if found["name"] == name and found["tag"].startswith(tag):
                return
        raise AssertionError(f"no Tab leads to {name!r} on {self.page.url}")

    def press(self, name: str, leads_to: str = "", key: str = "Enter") -> None:
        """Goes to a link or a button and presses it; it may lead to the page of a heading."""
        self.to(name)
        self.page.keyboard.press(key)
        if leads_to:
            self.arrives(leads_to)

    def fill(self, name: str, text: str) -> None:
        """Goes to a field and writes into it."""
        self.to(name)
        self.page.keyboard.type(text)

    def arrives(self, heading: str) -> None:
        """Waits for the page of that heading, whose focus is at its beginning."""
        expect(self.page.locator("h1")).to_have_text(heading)

    def is_told(self, text: str) -> None:
        """Waits for a page that says so, to those who hear pages, too."""
        expect(self.page.locator("[role=status], [role=alert]").first).to_contain_text(text)


@pytest.fixture(params=[True, False], ids=["script", "no script"])
def keyboard(console: Console, request: pytest.FixtureRequest) -> Iterator[Keyboard]:
    context = console.context(java_script_enabled=request.param)
    context.set_default_timeout(15_000)
    yield Keyboard(context.new_page())
    context.close()


@pytest.fixture(params=[True, False], ids=["script", "no script"])
def stranger(console: Console, request: pytest.FixtureRequest) -> Iterator[Keyboard]:
    context = console.stranger(java_script_enabled=request.param)
    context.set_default_timeout(15_000)
    yield Keyboard(context.new_page())
    context.close()


def test_signing_in_and_out(console: Console, stranger: Keyboard) -> None:
    page = stranger.page
    page.goto("/webhooks")
    stranger.arrives("Sign in")
    expect(page.locator("#email")).to_be_focused()
    page.keyboard.type("owner@localhost")
    page.keyboard.press("Enter")
    stranger.arrives("Look into your mail")
    printed = run_formflow("sign-in", DATA_DIR=str(console.product.data_dir))
    page.goto(printed.stdout.strip())
    stranger.arrives("You are nearly in")
    page.keyboard.press("Enter")
    stranger.arrives("Overview")
    stranger.press("Account", leads_to="Account")
    stranger.press("Sign out", leads_to="Sign in")
    page.goto("/overview")
    stranger.arrives("Sign in")


def test_the_first_stop_leads_past_the_navigation(keyboard: Keyboard) -> None:
    keyboard.page.goto("/api-keys")
    keyboard.page.keyboard.press("Tab")
    assert keyboard.page.evaluate(_FOCUSED)["name"] == "Skip to the content"
    keyboard.page.keyboard.press("Enter")
    keyboard.page.keyboard.press("Tab")
    assert keyboard.page.evaluate(_FOCUSED)["name"] == "New key"


def test_creating_a_form_and_deleting_it(console: Console, keyboard: Keyboard) -> None:
    keyboard.page.goto("/overview")
    keyboard.press("Forms", leads_to="Forms")
    keyboard.fill("New form", "By keyboard")
    keyboard.page.keyboard.press("Enter")
    keyboard.arrives("By keyboard")
    keyboard.is_told("The form is there")
    keyboard.press("Settings")
    expect(keyboard.page).to_have_url(re.compile("/settings"))
    keyboard.press("Delete…", leads_to="Delete this form?")
    keyboard.press("Delete the form", leads_to="Forms", key="Space")
    keyboard.is_told("The form is deleted")
    assert "By keyboard" not in [form["name"] for form in console.api("GET", "/forms")["data"]]


def test_what_is_wrong_with_a_form_is_said_at_its_field(keyboard: Keyboard) -> None:
    page = keyboard.page
    page.goto("/forms/new")
    keyboard.fill("Name", "Wrong")
    keyboard.press("More choices")
    keyboard.fill("Slug", "Not a slug")
    page.keyboard.press("Enter")
    keyboard.is_told("Something is not right yet.")
    field = page.locator("#slug")
    expect(field).to_be_focused()
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_have_value("Not a slug")
    expect(page.locator(f"#{field.get_attribute('aria-describedby')}")).not_to_be_empty()


def test_finding_a_submission_and_opening_it(keyboard: Keyboard) -> None:
    page = keyboard.page
    page.goto("/submissions")
    keyboard.fill("Search for words", "weave")
    page.keyboard.press("Enter")
    rows = page.locator("#rows tr")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("Ada Lovelace")
    rows.locator("a.main").focus()
    page.keyboard.press("Enter")
    expect(page.locator("dd", has_text="Can your engine also weave")).to_be_visible()


def test_releasing_what_is_held(console: Console, keyboard: Keyboard) -> None:
    held = console.post(
        "event",
        {"origin": "https://www.example.com"},
        data={"email": "held@example.com", "cf-turnstile-response": "token"},
    )
    keyboard.page.goto("/submissions")
    keyboard.press("Held")
    expect(keyboard.page.locator("#rows")).to_contain_text("held@example.com")
    keyboard.page.locator(f"#rows a[href*={held}]").focus()
    keyboard.page.keyboard.press("Enter")
    keyboard.arrives("held@example.com")
    keyboard.press("Release")
    keyboard.is_told("Filed as received")
    assert console.api("GET", f"/submissions/{held}")["status"] == "received"


def test_ticking_two_and_marking_them(console: Console, keyboard: Keyboard) -> None:
    ids = [console.post("try-out", data={"email": f"tick{n}@example.com"}) for n in range(2)]
    form = console.api("GET", f"/submissions/{ids[0]}")["form_id"]
    keyboard.page.goto(f"/forms/{form}/submissions")
    for n in (1, 0):
        keyboard.press(f"Tick: tick{n}@example.com", key="Space")
    for _ in range(2 * TABS_MAX):
        keyboard.page.keyboard.press("Shift+Tab")
        if keyboard.page.evaluate(_FOCUSED)["name"] == "Spam":
            break
    keyboard.page.keyboard.press("Enter")
    keyboard.is_told("Filed as spam: 2.")
    assert {console.api("GET", f"/submissions/{id}")["status"] for id in ids} == {"spam"}


def test_creating_a_webhook_and_trying_it(console: Console, keyboard: Keyboard) -> None:
    page = keyboard.page
    page.goto("/webhooks/new")
    keyboard.fill("URL", f"{console.receiver}/ok")
    page.keyboard.press("Enter")
    expect(page.locator("code", has_text="whsec_").first).to_be_visible()
    page.goto("/webhooks")
    page.locator("td a.main").first.focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/webhooks/wh_"))
    keyboard.press("Test bench")
    expect(page).to_have_url(re.compile("/test$"))
    keyboard.press("Send a test")
    expect(page.locator("main")).to_contain_text("200")


def test_making_a_key_and_revoking_it(console: Console, keyboard: Keyboard) -> None:
    keyboard.page.goto("/api-keys")
    keyboard.press("New key", leads_to="New API key")
    expect(keyboard.page.locator("#name")).to_be_focused()
    keyboard.page.keyboard.type("By keyboard")
    keyboard.press("Make the key")
    expect(keyboard.page.locator("code", has_text="ff_sub_").first).to_be_visible()
    keyboard.page.goto("/api-keys")
    keyboard.press("By keyboard", leads_to="By keyboard")
    keyboard.press("Revoke", leads_to="Revoke By keyboard?")
    keyboard.press("Revoke the key", leads_to="API keys")
    keyboard.is_told("The key is revoked")
    [key] = [
        each
        for each in console.api("GET", "/api-keys", params={"limit": 100})["data"]
        if each["name"] == "By keyboard" and each["status"] == "revoked"
    ][:1]
    assert key["revoked_at"] is not None


def test_inviting_somebody(console: Console, keyboard: Keyboard) -> None:
    keyboard.page.goto("/members")
    keyboard.press("Invite somebody", leads_to="Invite somebody")
    expect(keyboard.page.locator("#email")).to_be_focused()
    email = f"invited-{len(console.api('GET', '/members')['data'])}@example.com"
    keyboard.page.keyboard.type(email)
    keyboard.page.keyboard.press("Enter")
    expect(keyboard.page.locator("code", has_text="/invitation?token=")).to_be_visible()
    assert email in [each["email"] for each in console.api("GET", "/members")["data"]]
