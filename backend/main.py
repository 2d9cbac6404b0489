"""One backend process."""

import socket

from backend.app import Backend
from backend.schema import migrate
from contracts.runtime.connections import ConnectionLimits
from contracts.runtime.serving import serve
from contracts.runtime.settings import Settings


async def run_backend(
    settings: Settings, listener: socket.socket, *, ends_with_stdin: bool = False
) -> None:
    """Serves until told to stop."""
    backend = Backend(settings)
    async with backend.running():
        await serve(
            backend,
            listener,
            on_drain=backend.drain,
            drain_seconds=settings.drain_seconds,
            ends_with_stdin=ends_with_stdin,
            # Its clients are a few gateways, each with many connections.
            limits=ConnectionLimits(per_address=0),
            failure=backend.failure,
        )


async def run_migrate(settings: Settings) -> None:
    """Brings the schema to the newest version."""
    await migrate(settings.sqlalchemy_url())
