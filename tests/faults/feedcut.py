"""The feed of a gateway is cut while everything else is answered: it says so, and the commit still
knows what has been revoked."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import httpx

from contracts import internal
from tests.faults.fleet import FaultyFleet, faulty_fleet, start_all
from tests.faults.proxy import faulty_proxy
from tests.faults.races import Revocations, revoke_one

_WATCH_SECONDS = 1.5
_UNREADY_SECONDS = 20.0
_POLL_SECONDS = 0.1


@dataclass(slots=True)
class FeedCut:
    """Seconds from the cut to ``/readyz`` saying so (None: it never did), and what became of posts
    with a key that was revoked behind the cut."""

    unready_seconds: float | None
    revocations: Revocations


async def run_feed_cut(
    directory: Path,
    commands: dict[str, list[str]] | None = None,
    unready_seconds: float = _UNREADY_SECONDS,
) -> FeedCut:
    """Cuts the feed of one gateway of one, revokes a key, and waits until it is unready, for so
    long from the cut on."""
    with faulty_fleet(directory, gateways=1) as fleet:
        fleet.commands = commands or {}
        async with faulty_proxy(fleet.urls["backend"]) as proxy:
            fleet.overrides["gateway-0"] = {"BACKEND_URL": proxy.url}
            await asyncio.to_thread(start_all, fleet)
            proxy.refuses = frozenset({internal.CHANGES})
            cut_at = asyncio.get_running_loop().time()
            found = Revocations()
            headers = {"authorization": f"Bearer {fleet.first['management_key']}"}
            async with httpx.AsyncClient(
                base_url=fleet.urls["backend"], headers=headers, trust_env=False, timeout=20.0
            ) as manager:
                await revoke_one(fleet, manager, found, _WATCH_SECONDS)
            return FeedCut(await _unready_after(fleet, cut_at, unready_seconds), found)


async def _unready_after(fleet: FaultyFleet, cut_at: float, seconds: float) -> float | None:
    loop = asyncio.get_running_loop()
    while loop.time() < cut_at + seconds:
        status, _ = await asyncio.to_thread(fleet.get, "gateway-0", "/readyz")
        if status == 503:
            return round(loop.time() - cut_at, 1)
        await asyncio.sleep(_POLL_SECONDS)
    return None
