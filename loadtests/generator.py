"""Our own driver, a process beside this one: for open loops, and where there is no wrk.

wrk is a closed loop only: when the product slows down, wrk asks less of it. Visitors do not.
"""

import pickle
import subprocess
import sys
from dataclasses import dataclass

import orjson

from loadtests.cores import on_the_generators_core
from loadtests.load import Load
from loadtests.targets import Target
from loadtests.work import Requests, Work

GRACE_SECONDS = 30.0
PACED_CONNECTIONS_MAX = 2_048
_COUNT_SECONDS_MAX = 600.0


@dataclass(frozen=True)
class Plan:
    """What to send.

    With a ``rate`` posts are due at even intervals, whatever the answers do, over ``connections``
    that become ``connections_max`` when none is free; without one, each connection posts as soon
    as it has its answer. The end is after ``seconds``, or after so many ``posts``.
    """

    origins: tuple[str, ...]
    requests: Requests
    connections: int
    seconds: float
    rate: float = 0.0
    connections_max: int = 0
    posts: int = 0


def drive(target: Target, work: Work, connections: int, seconds: float) -> Load:
    """Posts over so many connections, each as soon as it has its answer."""
    return run(Plan((target.origin,), work.requests(target), connections, seconds))


def drive_count(target: Target, work: Work, connections: int, posts: int) -> Load:
    """As ``drive``, but so many posts."""
    requests = work.requests(target)
    return run(Plan((target.origin,), requests, connections, _COUNT_SECONDS_MAX, posts=posts))


def drive_paced(
    target: Target, work: Work, rate: float, seconds: float, connections: int = 64
) -> Load:
    """``rate`` posts a second, whether or not earlier ones have been answered, over so many
    connections that are open at the start, and more of them if need be."""
    requests = work.requests(target)
    return run(Plan((target.origin,), requests, connections, seconds, rate, PACED_CONNECTIONS_MAX))


def run(plan: Plan) -> Load:
    """Carries a plan out. Raises RuntimeError if the generator ends badly; stderr says why."""
    with on_the_generators_core():
        process = subprocess.Popen(
            [sys.executable, "-m", "loadtests.generator_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
    output, _ = process.communicate(pickle.dumps(plan), plan.seconds + 2 * GRACE_SECONDS)
    if process.returncode != 0:
        raise RuntimeError("the generator failed; stderr says why")
    return Load(**orjson.loads(output))
