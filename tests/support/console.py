"""A running product with something of everything that its console shows, and browsers in it."""

import http.server
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product as combinations
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

import httpx
from playwright.sync_api import (
    Browser,
    BrowserContext,
    Dialog,
    Page,
    Request,
    sync_playwright,
)

from backend.console.console import PAGES
from backend.sessions.csrf import csrf_token
from tests.support.patience import PatientTransport
from tests.support.processes import Product, run_formflow

Scheme = Literal["light", "dark"]
WIDE, PHONE = 1280, 390
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")
COOKIE = "formflow_session"
# What is no page: files, parts of pages, and what sends the browser on to somewhere else.
NO_PAGES = frozenset(
    {
        "/",
        "/audit-log/export",
        "/deliveries/{delivery_id}/attempts/{number}/body",
        "/forms/{form_id}/activity",
        "/forms/{form_id}/export/file",
        "/forms/{form_id}/settings",
        "/mailbox/{mail_id}/html",
        "/sign-in/oidc",
        "/sign-in/oidc/callback",
        "/submissions/newer",
        "/submissions/{submission_id}/deliveries",
        "/submissions/{submission_id}/files/{file_id}",
        "/webhooks/{webhook_id}/log",
    }
)
_HOLE = re.compile(r"{(\w+)}")
_TELL_OF_POLICY = """addEventListener("securitypolicyviolation", (event) =>
  console.error("policy:", event.violatedDirective, event.blockedURI, event.sample))"""
_SUBMIT = """([url, fields]) => {
  const form = document.createElement("form");
  form.method = "post";
  form.action = url;
  for (const [name, value] of Object.entries(fields)) {
    const input = document.createElement("input");
    input.name = name;
    input.value = value;
    form.append(input);
  }
  document.body.append(form);
  form.submit();
}"""
_SETTINGS = {
    "WEBHOOK_ALLOW_HTTP": "true",
    "WEBHOOK_ALLOW_CIDRS": "127.0.0.0/8",
    "DELIVERY_RETRY_SECONDS": "0.1",
    "DELIVERY_ATTEMPTS": "2",
    "KEY_MINTS_PER_HOUR": "1000",
    "DEFAULT_PLAN": "enterprise",
    # Nobody listens there: Turnstile cannot be reached.
    "TURNSTILE_VERIFY_URL": "http://127.0.0.1:9/siteverify",
}


@dataclass
class Seeds:
    """What was made: for each parameter of a page's path the values that it may have, and for pages
    of two parameters the pairs that belong together."""

    ids: dict[str, list[str]] = field(default_factory=dict)
    pairs: dict[tuple[str, ...], list[tuple[str, ...]]] = field(default_factory=dict)

    def add(self, name: str, *values: str) -> None:
        """Takes note of further values of a parameter."""
        known = self.ids.setdefault(name, [])
        known += [value for value in values if value not in known]

    def addresses(self, path: str) -> list[str]:
        """The addresses of the pages of a path. Raises LookupError if there is no object of it."""
        names = tuple(_HOLE.findall(path))
        if names in self.pairs:
            rows: Sequence[tuple[str, ...]] = self.pairs[names]
        else:
            rows = list(combinations(*(self.ids[name] for name in names)))
        return [path.format(**dict(zip(names, row, strict=True))) for row in rows]


@dataclass(frozen=True)
class Console:
    """A product, its console's browser, and the owner's session."""

    product: Product
    browser: Browser
    token: str
    receiver: str
    seeds: Seeds = field(default_factory=Seeds)

    @property
    def url(self) -> str:
        """Where the console is."""
        return self.product.url

    def context(self, scheme: Scheme = "light", width: int = WIDE, **more: Any) -> BrowserContext:
        """A browser in which the owner is signed in."""
        context = self.stranger(scheme, width, **more)
        context.add_cookies([{"name": COOKIE, "value": self.token, "url": self.url}])
        return context

    def stranger(self, scheme: Scheme = "light", width: int = WIDE, **more: Any) -> BrowserContext:
        """A browser in which nobody is signed in."""
        return self.browser.new_context(
            base_url=self.url,
            color_scheme=scheme,
            # What fades is not of the colour that it is to have.
            reduced_motion="reduce",
            viewport={"width": width, "height": 900},
            **more,
        )

    def client(self) -> httpx.Client:
        """The owner's browser without a window: it follows no redirects, and its unsafe requests
        come from a page of the console."""
        return httpx.Client(
            base_url=self.url,
            cookies={COOKIE: self.token},
            headers={"origin": self.url, "x-csrf-token": csrf_token(self.token)},
            timeout=20.0,
            transport=PatientTransport(),
        )

    def api(self, method: str, path: str, **request: Any) -> Any:
        """What the management API answers; nothing for an answer without a body."""
        with self.product.manager() as manager:
            answer = manager.request(method, f"/v1{path}", **request)
        assert answer.is_success, f"{method} {path}: {answer.text}"
        return answer.json() if answer.content else None

    def post(self, slug: str, headers: Mapping[str, str] | None = None, **request: Any) -> str:
        """Sends a form; returns the id of the submission, empty for spam, which has no id."""
        url = f"{self.url}/v1/f/{slug}"
        headers = {"accept": "application/json", **(headers or {})}
        answer = httpx.post(url, headers=headers, timeout=20.0, **request)
        assert answer.is_success, answer.text
        return str(answer.json().get("id", ""))

    def sign_in(self) -> str:
        """The token of a new session of the owner."""
        printed = run_formflow("sign-in", DATA_DIR=str(self.product.data_dir))
        return session_token(self.product, printed.stdout.strip())


def session_token(product: Product, link: str) -> str:
    """Signs in with a link."""
    [token] = parse_qs(urlsplit(link).query)["token"]
    with product.client() as visitor:
        answer = visitor.post("/v1/auth/session", json={"token": token}).raise_for_status()
    return str(answer.json()["token"])


@contextmanager
def running_console(directory: Path, chromium: str, **settings: str) -> Iterator[Console]:
    """A console that shows nothing yet but the demo form; its data is below the directory."""
    product = Product(directory / "data", **_SETTINGS | settings)
    with receiver() as hook:
        try:
            product.start()
            token = session_token(product, product.first["sign_in_url"])
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
                yield Console(product, browser, token, hook)
                browser.close()
        finally:
            product.stop()


@contextmanager
def receiver() -> Iterator[str]:
    """A receiver of webhooks: ``/ok`` takes them, ``/gone`` wants no more, the others fail."""
    statuses = {"/ok": 200, "/gone": 410}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            status = statuses.get(urlsplit(self.path).path, 500)
            body = b"thank you" if status == 200 else b"<h1>owned</h1>{{7*7}} cannot, sorry"
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def pages_of(console: Console, most: int | None = None) -> list[str]:
    """The address of every page that shows something, for ``most`` of the objects that there are or
    for all of them."""
    found = []
    for page in PAGES:
        if page.method == "GET" and page.path not in NO_PAGES:
            found += console.seeds.addresses(page.path)[:most]
    return found


def watch(page: Page, origin: str) -> list[str]:
    """What happens in a page that must not, as long as it lives: errors, what its policy forbids,
    dialogs, and requests to anybody but its own server."""
    complaints: list[str] = []

    def dismiss(dialog: Dialog) -> None:
        complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def look(request: Request) -> None:
        if not request.url.startswith((origin, "data:")):
            complaints.append(f"request: {request.url}")

    page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    page.on("console", lambda message: complaints.append(f"console: {message.text}"))
    page.on("dialog", dismiss)
    page.on("request", look)
    page.add_init_script(_TELL_OF_POLICY)
    return complaints


def submit(page: Page, url: str, fields: Mapping[str, str]) -> None:
    """Sends a form of these fields from the page that is shown."""
    page.evaluate(_SUBMIT, [url, dict(fields)])
