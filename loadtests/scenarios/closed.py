"""Closed loops against one form: how many posts a second, and what each costs."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace

import httpx

from loadtests import contact_form, generator
from loadtests.bench import Bench
from loadtests.canned import PASSED, running_canned
from loadtests.durability import send
from loadtests.results import Run
from loadtests.seeds import seed_submission_keys
from loadtests.targets import Target
from loadtests.work import Slot, Template, Work

Setup = Callable[[Bench], AbstractContextManager[tuple[Target, Work]]]

_FILE_BYTES = 20_000
_KEYS = 1_000
_KNOWN_KEYS = 8
_UNKNOWN_SLUGS = 1_000
_NO_SECRET = "every-token-passes"  # noqa: S105 -- of a stand-in


@dataclass(frozen=True)
class Closed:
    """A closed loop on a product that is set up for it."""

    setup: Setup
    connections: int

    def run(self, name: str, bench: Bench) -> Iterator[Run]:
        """Its one run. Raises RunFailed."""
        with self.setup(bench) as (target, work):
            yield bench.closed(name, target, work, self.connections)


def posts(work: Work, **members: object) -> Setup:
    """Some work for a form that is like the demo form but for these members."""

    @contextmanager
    def setup(bench: Bench) -> Iterator[tuple[Target, Work]]:
        with bench.product() as product:
            yield product.target(product.management.create_form("load", **members)), work

    return setup


@contextmanager
def keyed(bench: Bench) -> Iterator[tuple[Target, Work]]:
    """Posts of servers that have submission keys: one key is good for 50 posts a second only."""
    with bench.product() as product:
        keys = seed_submission_keys(product.data_dir, _KEYS)
        choices = tuple(key.encode() for key in keys)
        line = Template(b"Authorization: Bearer %s\r\n", (Slot(1, _KEYS, choices),))
        work = replace(contact_form.URLENCODED, authorization=line)
        # The first post with a key waits for bcrypt.
        generator.drive_count(product.target(), work, 8, _KEYS)
        yield product.target(), work


@contextmanager
def replay(bench: Bench) -> Iterator[tuple[Target, Work]]:
    """Posts that all carry a key which was used before, with the same body."""
    work = replace(contact_form.URLENCODED, keyed_every=1, keys=_KNOWN_KEYS, stores=False)
    with bench.product() as product, httpx.Client() as client:
        for n in range(_KNOWN_KEYS):
            send(client, product.target(), work, n)
        yield product.target(), work


@contextmanager
def turnstile(bench: Bench) -> Iterator[tuple[Target, Work]]:
    """Posts whose tokens a siteverify on this machine passes."""
    with (
        running_canned(PASSED) as siteverify,
        bench.product(turnstile_verify_url=f"{siteverify.origin}/siteverify") as product,
    ):
        path = product.management.create_form(
            "load", turnstile_enabled=True, turnstile_secret=_NO_SECRET
        )
        yield product.target(path), contact_form.with_turnstile()


_PLAIN = contact_form.URLENCODED
_UNKNOWN = Template(b"/v1/f/unknown-%d", (Slot(1, _UNKNOWN_SLUGS),))
_ELSEWHERE = {"Origin": "https://elsewhere.example"}

CLOSED = {
    "lone": Closed(posts(_PLAIN), 1),
    "burst-64": Closed(posts(_PLAIN), 64),
    "burst-256": Closed(posts(_PLAIN), 256),
    "json": Closed(posts(contact_form.JSON), 64),
    "multipart": Closed(posts(contact_form.multipart(_FILE_BYTES)), 64),
    "keyed": Closed(keyed, 64),
    "replay": Closed(replay, 64),
    # A form's posts may be judged by Turnstile 32 at a time; more are refused.
    "turnstile": Closed(turnstile, 32),
    "refused-429": Closed(
        posts(replace(_PLAIN, expects=429, has_many_visitors=False), rate_limit_per_minute=1), 64
    ),
    "refused-404": Closed(posts(replace(_PLAIN, expects=404, path=_UNKNOWN)), 64),
    "refused-403": Closed(
        posts(
            replace(_PLAIN, expects=403, headers=_ELSEWHERE),
            allowed_origins=["https://www.example.com"],
        ),
        64,
    ),
}
