"""``management``: lists, searches and exports of one form with a million submissions, as a client
of the management API sees them."""

import base64
import time
from collections.abc import Iterator, Mapping
from statistics import quantiles
from urllib.parse import urlencode

import httpx

from loadtests.bench import Bench
from loadtests.measure import Figures, RunFailed
from loadtests.processes import cpu_seconds, watched
from loadtests.product import Product
from loadtests.results import Run
from loadtests.seeds import Seeded, is_indexed, seed_submissions

_REQUESTS = 100
# A key may send 50 in any second.
_PACE_SECONDS = 0.025
_INDEXING_SECONDS = 3_600.0
_DAY_MS = 24 * 3600 * 1000
_SEARCHES = {
    "one word, rare": "v77770",
    "one word, in every thirtieth": "word5",
    "one word, in all": "example",
    "one word, absent": "nowhere",
    "two words, in all": "example visitor",
    "two words, few have both": "word150 word1500",
    "a beginning, many words": "wor",
    "a beginning, few words": "word199",
}


def run(name: str, bench: Bench) -> Iterator[Run]:
    """A run for each kind of request. Raises RunFailed."""
    with bench.product() as product, httpx.Client(timeout=120.0) as client:
        client.base_url = product.management.url
        client.headers["Authorization"] = f"Bearer {product.management.key}"
        [form] = client.get("/v1/forms").raise_for_status().json()["data"]
        seeded = seed_submissions(product.data_dir, form["id"], bench.rows)
        path = f"/v1/forms/{form['id']}/submissions"
        yield _run(
            name, "search while indexing", _times(client, product, path, {"q": "word5 word7"})
        )
        yield _run(name, "indexing", _indexing(product, seeded, bench.rows))
        for case, query in _cases(seeded).items():
            yield _run(name, case, _times(client, product, path, query))
        yield _run(name, "all forms", _times(client, product, "/v1/submissions", {}))
        for ending in ("csv", "json"):
            yield _run(name, f"export, {ending}", _export(client, product, f"{path}.{ending}"))


def _run(name: str, case: str, figures: Figures) -> Run:
    return Run("management", name, "FormFlow", figures, case)


def _cases(seeded: Seeded) -> dict[str, dict[str, str]]:
    lists = {
        "list": {},
        "list, deep": {"cursor": _cursor(seeded.middle_id)},
        "list, spam": {"status": "spam"},
        "list, held": {"status": "held"},
        "list, all": {"status": "all"},
        "list, unread": {"read": "false"},
        "list, a day long ago": {
            "since": _iso(seeded.first_ms),
            "until": _iso(seeded.first_ms + _DAY_MS),
        },
    }
    searches = {f"search, {case}": {"q": text} for case, text in _SEARCHES.items()}
    filtered = {
        f"search, {case}, unread spam": {"q": text, "status": "spam", "read": "false"}
        for case, text in _SEARCHES.items()
    }
    day = {**lists["list, a day long ago"], "q": "example", "status": "all"}
    deep = {**lists["list, deep"], "q": "example"}
    return lists | searches | filtered | {"search, a day long ago": day, "search, deep": deep}


def _times(client: httpx.Client, product: Product, path: str, query: Mapping[str, str]) -> Figures:
    """How long an answer takes, and what of that the backend computes. Raises RunFailed."""
    taken = []
    used = cpu_seconds(product.processes["backend"])
    for _ in range(_REQUESTS):
        started = time.perf_counter()
        answer = client.get(path, params=query)
        taken.append(time.perf_counter() - started)
        if answer.status_code != 200:
            raise RunFailed(f"{path}?{urlencode(query)} was answered {answer.status_code}")
        time.sleep(max(0.0, _PACE_SECONDS - taken[-1]))
    used = cpu_seconds(product.processes["backend"]) - used
    twentieths = quantiles(taken, n=20)
    return {
        "p50_ms": twentieths[9] * 1e3,
        "p95_ms": twentieths[18] * 1e3,
        "backend_cpu_ms": used / _REQUESTS * 1e3,
        "rows": len(answer.json()["data"]),
    }


def _indexing(product: Product, seeded: Seeded, rows: int) -> Figures:
    """How long the background takes, beside nothing else. Raises RunFailed."""
    started = time.monotonic()
    while not is_indexed(product.data_dir, seeded.last_id):
        if time.monotonic() - started > _INDEXING_SECONDS:
            raise RunFailed("the submissions are not indexed after an hour")
        time.sleep(0.5)
    seconds = time.monotonic() - started
    return {"seconds": seconds, "rows_per_second": rows / seconds}


def _export(client: httpx.Client, product: Product, path: str) -> Figures:
    """How long an export takes, and how much more memory the processes have meanwhile."""
    started, first, size = time.monotonic(), 0.0, 0
    with watched(product.processes) as peaks, client.stream("GET", path) as answer:
        answer.raise_for_status()
        for chunk in answer.iter_raw():
            first = first or time.monotonic() - started
            size += len(chunk)
    return {
        "seconds": time.monotonic() - started,
        "first_byte_seconds": first,
        "exported_mb": size / 1e6,
        "backend_growth_mb": peaks.growth_mb["backend"],
        "gateway_growth_mb": peaks.growth_mb["gateway"],
    }


def _cursor(id: str) -> str:
    return base64.urlsafe_b64encode(id.encode()).decode().rstrip("=")


def _iso(ms: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ms // 1000))
