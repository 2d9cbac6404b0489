"""``paced-1000``: a thousand posts a second, far from any limit: how long one takes."""

from collections.abc import Iterator

from loadtests import contact_form
from loadtests.bench import Bench
from loadtests.results import Run

RATE = 1_000.0


def run(name: str, bench: Bench) -> Iterator[Run]:
    """Its one run. Raises RunFailed."""
    with bench.product() as product:
        yield bench.paced(name, product.target(), contact_form.URLENCODED, RATE)
