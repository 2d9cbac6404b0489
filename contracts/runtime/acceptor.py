"""Takes connections off a listening socket, as many as wait, in one turn of the event loop.

uvloop takes one a turn (libuv 1.52): with a thousand busy connections, whose requests make a turn
last, a new one waited seconds for its first answer. It also spins where descriptors have run out.
"""

import asyncio
import errno
import socket
from collections.abc import Callable

from contracts.runtime.telemetry import get_logger

# So many a turn, so that a storm of connections does not keep the others waiting.
_AT_ONCE = 64
_PAUSE_SECONDS = 0.2
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Acceptor:
    """One listening socket, from ``start`` to ``close``; as much of ``asyncio.Server`` as a server
    needs to end."""

    def __init__(
        self, listener: socket.socket, make_protocol: Callable[[], asyncio.BaseProtocol]
    ) -> None:
        self._listener = listener
        self._make_protocol = make_protocol
        self._loop = asyncio.get_running_loop()
        self._connecting: set[asyncio.Task[object]] = set()
        self._resume: asyncio.TimerHandle | None = None
        self._is_complaining = False

    def start(self) -> None:
        """Begins to accept."""
        self._listener.setblocking(False)
        self._loop.add_reader(self._listener.fileno(), self._accept)

    def close(self) -> None:
        """Accepts no more; what has been accepted stays. The socket is the caller's to close."""
        self._loop.remove_reader(self._listener.fileno())
        if self._resume is not None:
            self._resume.cancel()

    async def wait_closed(self) -> None:
        """Returns when the last accepted connection has its protocol."""
        if self._connecting:
            await asyncio.wait(self._connecting)

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                connection, _address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                self._pause(error)
                return
            self._is_complaining = False
            self._connect(connection)

    def _connect(self, connection: socket.socket) -> None:
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connecting: asyncio.Task[object] = self._loop.create_task(
            self._loop.connect_accepted_socket(self._make_protocol, connection)
        )
        self._connecting.add(connecting)
        connecting.add_done_callback(self._connected)

    def _connected(self, connecting: asyncio.Task[object]) -> None:
        self._connecting.discard(connecting)
        if not connecting.cancelled() and (error := connecting.exception()) is not None:
            get_logger("runtime").warning("connection lost as it was accepted", error=str(error))

    def _pause(self, error: OSError) -> None:
        """Lets the connections there are end first."""
        if not self._is_complaining:
            get_logger("runtime").error("no connections can be accepted", error=str(error))
            self._is_complaining = True
        self._loop.remove_reader(self._listener.fileno())
        self._resume = self._loop.call_later(_PAUSE_SECONDS, self.start)
