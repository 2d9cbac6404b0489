"""``memory``: what a gateway holds for each form, key and visitor, by the growth of its process."""

import http.client
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from loadtests import contact_form, generator
from loadtests.bench import Bench
from loadtests.measure import Figures, RunFailed
from loadtests.processes import resident_mb
from loadtests.results import Run
from loadtests.scenarios.many_forms import FORMS, look_at_forms
from loadtests.seeds import seed_forms, seed_submission_keys
from loadtests.targets import Target
from loadtests.work import Work

# A gateway keeps no more of them.
_KEYS = 10_000
_VISITORS = (100_000, 1_000_000)
_VISITORS_MAX = "2000000"
_WARM_UP_POSTS = 5_000
_CONNECTIONS = 64
# Refused behind the rate limit, so that a visitor's window is all that a post leaves behind.
_BAD_KEY = {"Idempotency-Key": "not a key"}
_NEVER = 2**40


def run(name: str, bench: Bench) -> Iterator[Run]:
    """A run for each thing held, each on a gateway of its own. Raises RunFailed."""
    yield Run("memory", name, "FormFlow", _of_forms(bench), f"form, {FORMS:,}")
    yield Run("memory", name, "FormFlow", _of_keys(bench), f"key and its windows, {_KEYS:,}")
    for visitors in _VISITORS:
        figures = _of_visitors(bench, visitors)
        yield Run("memory", name, "FormFlow", figures, f"visitor window, {visitors:,}")


def _of_forms(bench: Bench) -> Figures:
    with bench.below("forms").product() as product:
        seed_forms(product.data_dir, FORMS)
        _warm_up(product.target())
        return look_at_forms(product.target(), FORMS)


def _of_keys(bench: Bench) -> Figures:
    with bench.below("keys").product() as product:
        keys = seed_submission_keys(product.data_dir, _KEYS)
        target = product.target()
        _warm_up(target)
        return _grown(target, _KEYS, lambda: _post_with(target, keys))


def _of_visitors(bench: Bench, visitors: int) -> Figures:
    settings = {"rate_limit_visitors": _VISITORS_MAX}
    with bench.below(f"visitors-{visitors}").product(**settings) as product:
        target = product.target()
        _warm_up(target)
        return _grown(target, visitors, lambda: _post_from(target, visitors))


def _grown(target: Target, entries: int, fill: Callable[[], None]) -> Figures:
    """The growth of the gateway for each entry that ``fill`` makes it hold."""
    before = resident_mb(target.processes["gateway"])
    fill()
    held = resident_mb(target.processes["gateway"]) - before
    return {"entries": entries, "bytes_each": held * 1e6 / entries}


def _warm_up(target: Target) -> None:
    """Posts until the process has what it needs for posts as such. One visitor sends them."""
    work = replace(_refused(), has_many_visitors=False)
    generator.drive_count(target, work, _CONNECTIONS, _WARM_UP_POSTS)


def _post_from(target: Target, visitors: int) -> None:
    """One post from each of so many visitors. Raises RunFailed."""
    load = generator.drive_count(target, _refused(), _CONNECTIONS, visitors)
    if load.statuses != {"400": visitors}:
        raise RunFailed(f"the visitors were answered {load.statuses}, not 400 throughout")


def _post_with(target: Target, keys: Sequence[str]) -> None:
    """One post with each key. Raises RunFailed."""
    origin = urlsplit(target.origin)
    connection = http.client.HTTPConnection(origin.hostname or "", origin.port, timeout=30.0)
    body = contact_form.URLENCODED.body.fill(0)
    for key in keys:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "text/plain", **_BAD_KEY}
        connection.request("POST", target.path, body, headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status != http.client.BAD_REQUEST:
            raise RunFailed(f"a key was answered {answer.status}, not 400")
    connection.close()


def _refused() -> Work:
    return replace(contact_form.URLENCODED, headers=_BAD_KEY, keyed_every=_NEVER)
