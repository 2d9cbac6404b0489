"""Looking up names, on threads of their own."""

import asyncio
import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from ipaddress import ip_address

from backend.outbound.errors import OutboundError
from backend.outbound.networks import Address

LOOKUP_SECONDS = 3.0
THREADS_MAX = 128

Resolve = Callable[[str], Sequence[str]]
"""Looks a name up, blocking: its addresses as text, best first. Raises OSError."""


def resolve_host(host: str) -> list[str]:
    """The addresses of a name, by the system's resolver. Raises OSError."""
    answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in answers))


class Lookups:
    """Looks names up without ever blocking the event loop or its executor.

    A resolver that hangs cannot be stopped: it keeps its thread until it gives up. So names are
    looked up on at most ``THREADS_MAX`` threads, never on two for the same name, and nobody waits
    longer than ``LOOKUP_SECONDS``. The threads are daemons, since those of an executor would hold
    up the end of the process for as long. Nothing is remembered: each call sees a fresh answer, or
    one under way.
    """

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._threads = asyncio.Semaphore(THREADS_MAX)
        self._under_way: dict[str, asyncio.Task[Sequence[str]]] = {}

    async def addresses_of(self, host: str) -> list[Address]:
        """All addresses of a name, at least one. Raises OutboundError."""
        lookup = self._under_way.get(host)
        if lookup is None:
            lookup = self._under_way[host] = asyncio.create_task(self._look_up(host))
            lookup.add_done_callback(partial(self._forget, host))
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                addresses = await asyncio.shield(lookup)
        except TimeoutError:
            raise OutboundError(
                f"the host's name could not be looked up within {LOOKUP_SECONDS:g} s"
            ) from None
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise OutboundError(f"the host's name could not be looked up: {reason}") from None
        if not addresses:
            raise OutboundError("the host's name has no address")
        return [ip_address(address) for address in addresses]

    async def close(self) -> None:
        """Lets go of the lookups that are under way."""
        for lookup in list(self._under_way.values()):
            lookup.cancel()

    async def _look_up(self, host: str) -> Sequence[str]:
        async with self._threads:
            outcome: Future[Sequence[str]] = Future()
            # From here on it cannot be cancelled: the thread will set it.
            outcome.set_running_or_notify_cancel()
            thread = threading.Thread(target=self._settle, args=(host, outcome), daemon=True)
            thread.start()
            return await asyncio.wrap_future(outcome)

    def _settle(self, host: str, outcome: Future[Sequence[str]]) -> None:
        try:
            outcome.set_result(self._resolve(host))
        except Exception as error:
            outcome.set_exception(error)

    def _forget(self, host: str, lookup: asyncio.Task[Sequence[str]]) -> None:
        del self._under_way[host]
        if not lookup.cancelled():
            # Marks its error as seen, for a lookup that everybody has stopped waiting for.
            lookup.exception()
