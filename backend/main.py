"""One backend process."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from backend.app import Backend
from backend.schema import migrate
from contracts.runtime.connections import ConnectionLimits
from contracts.runtime.endpoints import parse_endpoint
from contracts.runtime.listening import listening
from contracts.runtime.serving import serve
from contracts.runtime.settings import Settings


async def run_backend(
    settings: Settings, listener: socket.socket, *, ends_with_stdin: bool = False
) -> None:
    """Serves until told to stop. Raises ListenError: the internal surface's address is taken."""
    with _internal_listener(settings) as internal:
        backend = Backend(settings)
        async with backend.running():
            await serve(
                backend if internal is None else backend.public,
                listener,
                on_drain=backend.drain,
                drain_seconds=settings.drain_seconds,
                ends_with_stdin=ends_with_stdin,
                # Its clients are a few gateways, each with many connections.
                limits=ConnectionLimits(per_address=0),
                failure=backend.failure,
                others={} if internal is None else {internal: backend},
            )
        # A disk may have failed since.
        backend.failure.check()


@contextmanager
def _internal_listener(settings: Settings) -> Iterator[socket.socket | None]:
    """The socket of the internal surface, if it has one of its own."""
    if settings.internal_listen is None:
        yield None
        return
    with listening(parse_endpoint(settings.internal_listen)) as listener:
        yield listener


async def run_migrate(settings: Settings) -> None:
    """Brings the schema to the newest version."""
    await migrate(settings.sqlalchemy_url())
