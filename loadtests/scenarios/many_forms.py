"""``forms``: 100,000 forms in use, one after the other, on one gateway."""

from collections.abc import Iterator
from dataclasses import replace

import httpx

from loadtests import contact_form, generator
from loadtests.bench import Bench
from loadtests.measure import RunFailed
from loadtests.processes import resident_mb
from loadtests.results import Run
from loadtests.seeds import FORM_PATH, seed_forms
from loadtests.targets import Target
from loadtests.work import Slot, Template, Work

FORMS = 100_000
_CONNECTIONS = 64
_HITS = 'formflow_cache_lookups_total{cache="forms",result="hit"}'
_MISSES = 'formflow_cache_lookups_total{cache="forms",result="miss"}'


def run(name: str, bench: Bench) -> Iterator[Run]:
    """The first look at each form, then posts to all of them in turn. Raises RunFailed."""
    with bench.product() as product:
        seed_forms(product.data_dir, FORMS)
        target = product.target()
        yield Run("first look", name, target.name, look_at_forms(target, FORMS), "first look")
        before = _lookups(target)
        run = bench.closed(name, target, over_forms(contact_form.URLENCODED, FORMS), _CONNECTIONS)
        hits, misses = (now - then for now, then in zip(_lookups(target), before, strict=True))
        share = {"cache_hits": hits / (hits + misses)} if hits + misses else {}
        yield replace(run, figures=run.figures | share)


def look_at_forms(target: Target, forms: int) -> dict[str, float]:
    """Posts once to each form with what is no key: the form is looked up and kept, the post leaves
    nothing else behind. Returns the bytes that each form takes, too. Raises RunFailed."""
    no_key = {"Authorization": "Bearer none"}
    work = over_forms(replace(contact_form.URLENCODED, headers=no_key, expects=403), forms)
    before = resident_mb(target.processes["gateway"])
    load = generator.drive_count(target, work, _CONNECTIONS, forms)
    if load.statuses != {"403": forms}:
        raise RunFailed(f"the forms answered {load.statuses}, not 403 throughout")
    held = resident_mb(target.processes["gateway"]) - before
    return {
        "entries": forms,
        "bytes_each": held * 1e6 / forms,
        "looks_per_second": load.in_time / load.seconds,
        "p99_ms": load.p99_ms,
    }


def over_forms(work: Work, forms: int) -> Work:
    """The work, posted to the seeded forms in turn."""
    return replace(work, path=Template(FORM_PATH, (Slot(1, forms),)))


def _lookups(target: Target) -> tuple[float, float]:
    """The hits and misses that the gateway's metrics count so far; zeros where they do not."""
    lines = httpx.get(f"{target.origin}/metrics", timeout=10.0).text.splitlines()
    values = dict(line.rpartition(" ")[::2] for line in lines if not line.startswith("#"))
    return float(values.get(_HITS, 0)), float(values.get(_MISSES, 0))
