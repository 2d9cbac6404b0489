"""What strangers and members write is shown on the console's pages and never runs: hostile texts in
everything that can be written, and every page visited."""

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar
from urllib.parse import urlencode

import httpx
import pytest
from playwright.sync_api import Page, Route

from backend.sessions.csrf import FIELD, csrf_token
from tests.support.console import Console, pages_of, watch
from tests.support.console_seeds import note_what_there_is
from tests.support.hostile import ALL, PRODUCT, SCRIPTS, USUAL

IS_LONG = os.environ.get("FORMFLOW_LONG") == "1"
TEXTS = ALL if IS_LONG else USUAL
# Not every text goes everywhere in a short run, but each goes to many places, and to each place
# many go: the places take turns.
TURNS = 1 if IS_LONG else 3
_MEMBERS_MAX = 40
# What the browser makes of an answer, without running it: whatever no page of ours has.
_FIND = """async ([requests, product]) => {
  const wrong = [];
  const dangerous = [
    "script:not([src^='/console-assets/'])", "style", "[style]", "base", "object", "embed", "video",
    "math", "iframe:not([sandbox=''])", "iframe[srcdoc]", "img:not([src^='/console-assets/'])",
    "form[action^='http']", "form[action^='//']", "[ontoggle]", "[onload]", "[onerror]",
    "[onfocus]", "[onmouseover]", "[onclick]", "meta[http-equiv]",
    "link:not([href^='/console-assets/'])", "[hx-get^='//']", "[hx-get^='http']", "h1 ~ h1",
  ];
  const urls = ["https:", "http:", "mailto:"];
  for (const [method, address, body] of requests) {
    let answer;
    for (;;) {
      answer = await fetch(address, {method, body: body && new URLSearchParams(body)});
      if (answer.status !== 429) break;
      await new Promise((done) => setTimeout(done, 1000 * answer.headers.get("retry-after")));
    }
    const where = `${method} ${address}`;
    if (answer.status >= 500) wrong.push(`${where}: ${answer.status}`);
    if (!answer.headers.get("content-type")?.startsWith("text/html")) continue;
    const text = await answer.text();
    if (text.includes(product)) wrong.push(`${where}: a template was evaluated`);
    // A mail is styled in place, as mail programs want it; it is shown in a frame of its own.
    const isMail = /^\\/mailbox\\/.*\\/html$/.test(address);
    const selectors = dangerous.filter((each) => !isMail || !each.includes("style"));
    const page = new DOMParser().parseFromString(text, "text/html");
    for (const each of page.querySelectorAll(selectors.join(","))) {
      wrong.push(`${where}: ${each.outerHTML.slice(0, 200)}`);
    }
    for (const each of page.querySelectorAll("*")) {
      for (const {name} of each.attributes) {
        if (name.startsWith("on") || name.startsWith("hx-on") || name.startsWith("data-hx")) {
          wrong.push(`${where}: ${each.outerHTML.slice(0, 200)}`);
        }
      }
    }
    for (const each of page.querySelectorAll("a[href]")) {
      if (!urls.includes(new URL(each.getAttribute("href"), location.href).protocol)) {
        wrong.push(`${where}: ${each.outerHTML.slice(0, 200)}`);
      }
    }
  }
  return wrong;
}"""

pytestmark = pytest.mark.timeout(3600 if IS_LONG else 600)
Asked = tuple[str, str, dict[str, str] | None]


@pytest.fixture(scope="module")
def hostile(console: Console) -> Console:
    """The console, with every text in whatever takes it."""
    ids = console.seeds.ids
    # Behind those of the usual seeds pages are many, and no other.
    ids["form_id"], ids["submission_id"] = ids["form_id"][:1], ids["submission_id"][:1]
    with console.product.manager() as manager:
        _declare(console, manager)
        for few in _few(TEXTS, 6):
            _submit(console, few)
        for number, text in enumerate(TEXTS):
            _name(console, manager, number, text)
    note_what_there_is(console)
    return console


@pytest.fixture
def page(hostile: Console) -> Iterator[Page]:
    # Without the policy: it would stop what escaping has to.
    context = hostile.context(bypass_csp=True)
    yield context.new_page()
    context.close()


def test_no_page_runs_what_somebody_wrote(hostile: Console, page: Page) -> None:
    complaints = watch(page, hostile.url)
    shown = pages_of(hostile, most=4)
    for address in shown:
        answer = page.goto(address)
        assert answer is not None
        assert answer.status == 200, address
    assert complaints == []
    assert len(shown) > 50


def test_no_page_has_markup_that_somebody_wrote(hostile: Console, page: Page) -> None:
    page.goto("/overview")
    mails = hostile.seeds.addresses("/mailbox/{mail_id}/html")
    asked: list[Asked] = [("GET", address, None) for address in (*pages_of(hostile), *mails)]
    assert _dangers(page, asked) == []


def test_no_page_has_markup_of_what_it_is_asked(hostile: Console, page: Page) -> None:
    page.goto("/overview")
    assert _dangers(page, [*_queries(TEXTS)]) == []


def test_no_form_comes_back_with_markup_that_was_sent(hostile: Console, page: Page) -> None:
    page.goto("/overview")
    # Each of them is refused for something, and shown again as it was filled in.
    token = {FIELD: csrf_token(hostile.token)}
    assert _dangers(page, [*_refused_forms(hostile, TEXTS, token)]) == []


Place = TypeVar("Place")


def _in_turn(places: Sequence[Place], number: int) -> Sequence[Place]:
    """The places of the text of a number."""
    return places[number % TURNS :: TURNS]


def _few(texts: Sequence[str], count: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(texts), count):
        yield texts[start : start + count]


def test_what_is_not_escaped_would_be_found(hostile: Console, page: Page) -> None:
    def answer(route: Route) -> None:
        number = int(route.request.url.rpartition("/")[2])
        route.fulfill(body=f"<h1>x</h1>{SCRIPTS[number]}", content_type="text/html")

    page.goto("/overview")
    page.route("**/planted/*", answer)
    planted = [f"/planted/{number}" for number in range(len(SCRIPTS))]
    assert [each for each in planted if not _dangers(page, [("GET", each, None)])] == []


def _dangers(page: Page, asked: Sequence[Asked]) -> list[str]:
    found: list[str] = page.evaluate(_FIND, [asked, PRODUCT])
    return found


def _queries(texts: Iterable[str]) -> Iterator[Asked]:
    places = (
        ("/submissions", ("q", "since", "until", "status", "read", "form_id", "cursor")),
        ("/forms", ("status", "environment", "cursor")),
        ("/audit-log", ("actor", "action", "target", "outcome", "since", "until", "cursor")),
        ("/usage", ("from", "to", "form_id")),
        ("/webhooks", ("status", "cursor", "form_id")),
        ("/webhooks/new", ("form_id",)),
        ("/overview", ("notice", "count")),
        ("/sign-in", ("next", "token", "notice")),
        ("/invitation", ("token",)),
    )
    for number, text in enumerate(texts):
        text = text.encode(errors="replace").decode()
        for path, names in _in_turn(places, number):
            fixed = {"span": "between"} if path == "/usage" else {}
            yield "GET", f"{path}?{urlencode(dict.fromkeys(names, text) | fixed)}", None


def _refused_forms(
    console: Console, texts: Iterable[str], token: dict[str, str]
) -> Iterator[Asked]:
    form = f"/forms/{console.seeds.ids['form_id'][0]}"
    webhook = f"/webhooks/{console.seeds.ids['webhook_id'][0]}"
    key = f"/api-keys/{console.seeds.ids['key_id'][0]}"
    forms: tuple[tuple[str, dict[str, str], tuple[str, ...]], ...] = (
        ("/forms", {"status": "?"}, ("name", "slug", "environment")),
        (f"{form}/settings/general", {"mode": "?"}, ("name", "environment")),
        (
            f"{form}/settings/mail",
            {"notify_emails": "?"},
            ("from_address", "subject_template", "autoresponse_subject", "autoresponse_message"),
        ),
        (f"{form}/settings/afterwards", {"redirect_url": "?"}, ("redirect_url", "redirect_hosts")),
        (
            f"{form}/settings/protection",
            {"rate_limit_per_minute": "?"},
            ("allowed_origins", "honeypot_field", "turnstile_site_key", "turnstile_secret"),
        ),
        (
            f"{form}/settings/fields",
            {"do": "json"},
            ("fields_json", "name-0", "label-0", "options-0", "pattern-0", "least-0"),
        ),
        (f"{form}/duplicate", {"slug": "?"}, ("name", "slug")),
        ("/api-keys", {"kind": "?"}, ("name", "allowed_ips", "environment", "further_forms")),
        (key, {"burst": "?"}, ("name", "allowed_ips", "rate_limit_per_minute", "expires_at")),
        (f"{key}/rotate", {}, ("grace_hours",)),
        ("/api-keys/leaked", {"key": ""}, ("name",)),
        ("/webhooks/new", {"format": "?"}, ("url", "header_name", "header_value", "form_id")),
        (f"{webhook}/settings", {"format": "?"}, ("url",)),
        (f"{webhook}/headers", {}, ("header_name", "header_value")),
        (f"{webhook}/replay", {"which": "?"}, ("since", "until")),
        ("/members", {"role": "?"}, ("email",)),
        ("/account", {"plan": "?"}, ("name",)),
        ("/account/environments", {}, ("environment",)),
        ("/sign-in", {}, ("email", "next")),
    )
    for number, text in enumerate(texts):
        text = text.encode(errors="replace").decode()
        for path, fixed, names in _in_turn(forms, number):
            yield "POST", path, token | dict.fromkeys(names, text) | fixed


def _declare(console: Console, manager: httpx.Client) -> None:
    """Puts texts into what owners write of a form."""
    plain = [text for text in TEXTS if text.isprintable() and text.strip()]
    fields = [
        {"name": text, "type": "select", "label": text[:200], "options": [text[:200]]}
        for text in plain[:40]
        if len(text.encode()) <= 256
    ]
    for number, few in enumerate(_few(plain, 20)):
        text = few[0][:150]
        document: dict[str, Any] = {
            "name": text,
            "fields": fields if number == 0 else [],
            "rate_limit_per_minute": 100_000,
            "notify_emails": "team@example.com",
            "subject_template": f"{text} {{{{field.name}}}}",
            "autoresponse_enabled": True,
            "autoresponse_subject": text,
            "autoresponse_message": "\n".join(few)[:5_000],
            "slug": f"hostile-{number}",
        }
        answer = manager.post("/v1/forms", json=document)
        if answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY:
            faults = {fault["field"].partition(".")[0] for fault in answer.json()["errors"]}
            kept = {name: value for name, value in document.items() if name not in faults}
            answer = manager.post("/v1/forms", json={"name": "x"} | kept)
        assert answer.status_code == httpx.codes.CREATED, answer.text
        console.seeds.add("form_id", answer.json()["id"])


def _submit(console: Console, texts: Sequence[str]) -> None:
    """Puts texts into all that a visitor sends."""
    clean = [text.encode(errors="replace").decode() for text in texts]
    [name, *_] = clean
    header = "".join(letter for letter in name if " " <= letter <= "~").strip() or "x"
    headers = {"user-agent": header, "referer": header}
    # Of fields a name takes 256 bytes.
    data: dict[str, Any] = {text[:60]: [text, name] for text in clean}
    data |= {"email": "eve@example.net", "name": name, "message": "\n".join(clean)}
    files = {f"{text[:20]} {n}": (text[:150], b"x", header) for n, text in enumerate(clean)}
    answer = httpx.post(
        f"{console.url}/v1/f/hostile-0",
        data=data,
        files=files,
        headers=headers | {"accept": "application/json"},
        timeout=20.0,
    )
    assert answer.status_code == httpx.codes.OK, answer.text
    console.seeds.add("submission_id", answer.json()["id"])


def _name(console: Console, manager: httpx.Client, number: int, text: str) -> None:
    """Puts a text into what members name, where that takes it."""
    text = text.encode(errors="replace").decode()
    form = console.seeds.ids["form_id"][0]
    hook = {"url": f"{console.receiver}/{text}", "enabled": False}
    tries: list[tuple[str, str, dict[str, Any]]] = [
        ("key_id", "/v1/api-keys", {"name": text, "kind": "submission"}),
        ("webhook_id", f"/v1/forms/{form}/webhooks", hook),
        ("environment_id", "/v1/environments", {"name": text}),
    ]
    email = "".join(letter for letter in text if letter.isalnum() or letter in "{}*'`/=+-&#$%")
    # Of invitations an hour has 50.
    if len(console.seeds.ids["member_id"]) < _MEMBERS_MAX:
        address = f"{email[:60]}@example.com"
        tries.append(("member_id", "/v1/members", {"email": address, "role": "viewer"}))
    for parameter, path, document in _in_turn(tries, number):
        answer = manager.post(path, json=document)
        assert answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR, answer.text
        if answer.is_success:
            console.seeds.add(parameter, answer.json()["id"])
    # The audit log notes what was refused, with the text that the browser names itself by.
    agent = "".join(letter for letter in text if " " <= letter <= "~").strip() or "x"
    headers = {"authorization": "Bearer ff_mgmt_wrong", "user-agent": agent}
    manager.get("/v1/forms", headers=headers)
