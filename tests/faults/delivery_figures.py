"""The long set: webhooks while the backend dies, and beside targets that hang."""

from pathlib import Path

from tests.faults.deliveries import run_beside_hanging, run_kills
from tests.faults.figure import Figure, Size

_HANGING = 500
_POSTS = 600


async def deliveries_under_kills(directory: Path, size: Size) -> Figure:
    """W6: every submission is told of, under one id."""
    kills = size.times(200, 5)
    found = await run_kills(directory, kills, size.seed)
    return Figure(
        "W6",
        "kill -9 of the backend while a moody webhook is told of every post",
        "each acknowledged post delivered at least once, under one id",
        {
            "posts": found.acknowledged,
            "undelivered": len(found.undelivered),
            "under several ids": len(found.split),
            "delivered again": found.repeated,
        },
        found.acknowledged > 0 and not found.undelivered and not found.split,
        f"{kills} kills",
        found.undelivered[:5] + found.split[:5],
    )


async def deliveries_beside_hanging(directory: Path, size: Size) -> Figure:
    """F19: a good webhook beside many that never answer."""
    found = await run_beside_hanging(directory, _HANGING, size.times(_POSTS, _POSTS // 10))
    return Figure(
        "F19",
        f"a good webhook beside {_HANGING} that hang",
        "p99 from the post to its delivery < 2 s",
        {
            "hanging": found.hanging,
            "posts": found.posts,
            "undelivered": len(found.undelivered),
            "p99, s": found.p99_seconds,
        },
        found.posts > 0 and not found.undelivered,
        f"{found.posts} posts",
        found.undelivered[:5],
        is_fast=found.p99_seconds < 2.0,
    )
