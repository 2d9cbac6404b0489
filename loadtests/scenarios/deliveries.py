"""``delivery``: posts to a form that tells a webhook, or somebody by mail, beside the same form
that tells nobody, and how soon all of it is delivered."""

import re
import time
from collections.abc import Iterator

import httpx

from loadtests import contact_form
from loadtests.bench import Bench
from loadtests.canned import ACCEPTED, running_canned
from loadtests.measure import Figures, RunFailed, measure
from loadtests.product import Product
from loadtests.results import Run

_CONNECTIONS = 64
_STALLED_SECONDS = 60.0
_POLL_SECONDS = 0.1
_SETTINGS = {"webhook_allow_http": "true", "webhook_allow_cidrs": "127.0.0.0/8"}
_NOBODY, _WEBHOOK, _MAIL = "nobody", "webhook", "mail"


def run(name: str, bench: Bench) -> Iterator[Run]:
    """A run for each that is told. Raises RunFailed, also if not all is delivered."""
    for case in (_NOBODY, _WEBHOOK, _MAIL):
        with (
            running_canned(ACCEPTED) as sink,
            bench.below(case).product(**_SETTINGS) as product,
        ):
            addresses = "ada@example.com" if case == _MAIL else ""
            path = product.management.create_form("load", notify_emails=addresses)
            if case == _WEBHOOK:
                product.management.add_webhook("load", f"{sink.origin}/hook")
            yield Run("delivery", name, "FormFlow", _measured(bench, product, path, case), case)


def _measured(bench: Bench, product: Product, path: str, case: str) -> Figures:
    target, work = product.target(path), contact_form.URLENCODED
    bench.prepare(target, work, _CONNECTIONS)
    kinds = () if case == _NOBODY else (case,)
    for kind in kinds:
        # What warmed it up is delivered first.
        _wait(product, kind, target.store.stored() if target.store else 0)
    started = time.perf_counter()
    load, figures = measure(
        target, work, lambda: bench.drive(target, work, _CONNECTIONS, bench.seconds)
    )
    ended = started + load.seconds
    for kind in kinds:
        _wait(product, kind, target.store.stored() if target.store else 0)
        done = time.perf_counter()
        figures["deliveries_per_second"] = load.accepted / (done - started)
        figures["delivered_after_seconds"] = done - ended
    return figures


def _wait(product: Product, kind: str, wanted: int) -> None:
    """Returns when so much was delivered since the start. Raises RunFailed if nothing more is."""
    delivered, moved_at = -1, time.monotonic()
    while delivered < wanted:
        before, delivered = delivered, _delivered(product, kind)
        if delivered != before:
            moved_at = time.monotonic()
        elif time.monotonic() - moved_at > _STALLED_SECONDS:
            raise RunFailed(f"{wanted} submissions, {delivered} delivered by {kind}")
        time.sleep(_POLL_SECONDS)


def _delivered(product: Product, kind: str) -> int:
    metrics = httpx.get(f"{product.backend_url}/metrics", trust_env=False).raise_for_status().text
    line = rf'formflow_delivery_attempts_total{{kind="{kind}",verdict="delivered"}} (\S+)'
    found = re.search(line, metrics)
    return int(float(found[1])) if found else 0
