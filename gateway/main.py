"""One gateway process."""

import socket

from contracts.runtime.serving import serve
from contracts.runtime.settings import Settings
from gateway.app import Gateway


async def run_gateway(
    settings: Settings, listener: socket.socket, *, ends_with_stdin: bool = False
) -> None:
    """Serves until told to stop."""
    gateway = Gateway(settings)
    async with gateway.running():
        await serve(
            gateway,
            listener,
            on_drain=gateway.drain,
            drain_seconds=settings.drain_seconds,
            ends_with_stdin=ends_with_stdin,
        )
