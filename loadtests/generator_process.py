"""The generator's process: reads a plan from stdin, carries it out, prints what it saw."""

import gc
import pickle
import sys
from dataclasses import asdict

import orjson

from contracts.runtime.serving import raise_descriptor_limit, run
from loadtests.generator import Plan
from loadtests.loops import ClosedLoop, OpenLoop


async def _carry_out() -> None:
    plan: Plan = pickle.load(sys.stdin.buffer)  # noqa: S301 -- from our own parent
    load = await (OpenLoop(plan) if plan.rate else ClosedLoop(plan)).run()
    sys.stdout.buffer.write(orjson.dumps(asdict(load)))


if __name__ == "__main__":
    raise_descriptor_limit()
    # A collection would look like a slow answer, and nothing here makes cycles.
    gc.disable()
    run(_carry_out)
