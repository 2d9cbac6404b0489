"""One gateway process."""

import socket

from contracts.runtime.connections import ConnectionLimits
from contracts.runtime.serving import serve
from contracts.runtime.settings import Settings
from gateway.app import Gateway

_PER_ADDRESS = 512


async def run_gateway(
    settings: Settings,
    listener: socket.socket,
    *,
    worker: int = 0,
    workers: int = 1,
    ends_with_stdin: bool = False,
) -> None:
    """Serves until told to stop. ``worker`` is the number among the ``workers`` that share the
    listener."""
    gateway = Gateway(settings, worker=worker, workers=workers)
    # Behind a proxy all clients share its address.
    limits = ConnectionLimits(per_address=0 if settings.trusted_proxies else _PER_ADDRESS)
    async with gateway.running():
        await serve(
            gateway,
            listener,
            on_drain=gateway.drain,
            drain_seconds=settings.drain_seconds,
            ends_with_stdin=ends_with_stdin,
            limits=limits,
            failure=gateway.failure,
        )
    # A disk may have failed since: what was stored at the very end is not there then.
    gateway.failure.check()
