"""``console``: the pages of the console on an account with many submissions, as a browser asks for
them."""

import time
from collections.abc import Iterator
from statistics import quantiles
from urllib.parse import parse_qs, urlsplit

import httpx

from loadtests.bench import Bench
from loadtests.measure import Figures, RunFailed
from loadtests.processes import cpu_seconds
from loadtests.product import Product
from loadtests.results import Run
from loadtests.seeds import is_indexed, seed_submissions

_REQUESTS = 40
# A member's session may send 50 in any second.
_PACE_SECONDS = 0.025
_INDEXING_SECONDS = 600.0


def run(name: str, bench: Bench) -> Iterator[Run]:
    """A run for each page. Raises RunFailed."""
    with bench.product() as product, httpx.Client(timeout=60.0) as browser:
        client = product.management
        browser.base_url = client.url
        browser.headers["Authorization"] = f"Bearer {client.key}"
        [form] = browser.get("/v1/forms").raise_for_status().json()["data"]
        seeded = seed_submissions(product.data_dir, form["id"], bench.rows)
        _wait_for_index(product, seeded.last_id)
        pages = _pages(browser, form["id"], seeded.middle_id)
        _sign_in(product, browser)
        for case, path in pages.items():
            yield Run("console", name, "FormFlow", _figures(product, browser, path), case)


def _pages(client: httpx.Client, form_id: str, submission_id: str) -> dict[str, str]:
    """Addresses of pages, by what they show."""
    form, submission = f"/forms/{form_id}", f"/submissions/{submission_id}"
    webhook = client.post(f"/v1{form}/webhooks", json={"url": "https://example.com/hook"})
    hook = f"/webhooks/{webhook.raise_for_status().json()['id']}"
    key = client.post("/v1/api-keys", json={"name": "server", "kind": "submission"})
    return {
        "overview": "/overview",
        "forms": "/forms",
        "form": form,
        "form, activity": f"{form}/activity",
        "form, settings": f"{form}/settings/general",
        "form, fields": f"{form}/settings/fields",
        "form, delete": f"{form}/delete",
        "form, export": f"{form}/export",
        "submissions": "/submissions",
        "submissions, unread spam": "/submissions?status=spam&read=false",
        "submissions, search": "/submissions?q=word5",
        "submissions, search, rare": "/submissions?q=word19990",
        "submissions of a form": f"{form}/submissions",
        "submission": submission,
        "submission, delete": f"{submission}/delete",
        "webhooks": "/webhooks",
        "webhook": hook,
        "webhook, settings": f"{hook}/settings",
        "webhook, test bench": f"{hook}/test",
        "API keys": "/api-keys",
        "API key": f"/api-keys/{key.raise_for_status().json()['id']}",
        "API key, new": "/api-keys/new",
        "usage": "/usage",
        "usage, a year": "/usage?span=365",
        "audit log": "/audit-log",
        "members": "/members",
        "mailbox": "/mailbox",
        "account": "/account",
    }


def _sign_in(product: Product, browser: httpx.Client) -> None:
    """Uses the link of the first start, as its page does."""
    [token] = parse_qs(urlsplit(product.sign_in_url).query)["token"]
    del browser.headers["Authorization"]
    browser.headers["Origin"] = product.management.url
    answer = browser.post("/sign-in/use", data={"token": token})
    if answer.status_code != httpx.codes.SEE_OTHER:
        raise RunFailed(f"signing in was answered {answer.status_code}")


def _figures(product: Product, browser: httpx.Client, path: str) -> Figures:
    """How long a page takes, what of that the backend computes, and how large it is."""
    browser.get(path)
    taken = []
    used = cpu_seconds(product.processes["backend"])
    for _ in range(_REQUESTS):
        started = time.perf_counter()
        answer = browser.get(path)
        taken.append(time.perf_counter() - started)
        if answer.status_code != httpx.codes.OK:
            raise RunFailed(f"{path} was answered {answer.status_code}")
        time.sleep(max(0.0, _PACE_SECONDS - taken[-1]))
    used = cpu_seconds(product.processes["backend"]) - used
    twentieths = quantiles(taken, n=20)
    return {
        "p50_ms": twentieths[9] * 1e3,
        "p95_ms": twentieths[18] * 1e3,
        "backend_cpu_ms": used / _REQUESTS * 1e3,
        "page_kb": len(answer.content) / 1e3,
    }


def _wait_for_index(product: Product, id: str) -> None:
    started = time.monotonic()
    while not is_indexed(product.data_dir, id):
        if time.monotonic() - started > _INDEXING_SECONDS:
            raise RunFailed("the submissions are not indexed after ten minutes")
        time.sleep(0.5)
