"""Serving an ASGI app until told to stop, and stopping in the right order.

Stock uvicorn closes its listener the moment a signal arrives, before a balancer has noticed, waits
for ever for open connections, and dies of the signal. Here the first signal turns readiness off
and keeps serving for a while; then the listener closes, what is in flight ends within a bound, and
the process exits 0. A second signal stops at once.
"""

import asyncio
import gc
import os
import resource
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, cast

import uvicorn

from contracts.runtime.acceptor import Acceptor
from contracts.runtime.failure import Failure, ProcessFailed
from contracts.runtime.protocol import ConnectionLimits, protocol_class
from contracts.runtime.settings import StartError

GRACEFUL_SECONDS = 15
# Draining and what is in flight together: the rest of half a minute is for the parts' own end.
_STOP_SECONDS = 25
KEEP_ALIVE_SECONDS = 75
SLOW_CALLBACK_SECONDS = 0.05
_BACKLOG = 2048
_CLOSE = (b"connection", b"close")
_GC_THRESHOLDS = (100_000, 20, 1_000)


class ListenError(StartError):
    """The address cannot be listened on."""


class DrainingServer(uvicorn.Server):
    """A uvicorn server that calls ``on_drain`` at the first signal and closes later."""

    def __init__(
        self, config: uvicorn.Config, on_drain: Callable[[], None], drain_seconds: float
    ) -> None:
        super().__init__(config)
        self._on_drain = on_drain
        self._drain_seconds = drain_seconds
        self._close_at: float | None = None
        self.servers = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Called by uvicorn, whose listening with the event loop's own server this replaces."""
        await self.lifespan.startup()
        for listener in sockets or ():
            # One that is bound only listens from now on.
            listener.listen(_BACKLOG)
            acceptor = Acceptor(listener, self._make_protocol)
            acceptor.start()
            self.servers.append(acceptor)  # type: ignore[arg-type]
        self.started = True

    def _make_protocol(self) -> asyncio.BaseProtocol:
        make: Any = self.config.http_protocol_class
        return cast(
            asyncio.BaseProtocol,
            make(config=self.config, server_state=self.server_state, app_state=self.lifespan.state),
        )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The signal handler. Not recording the signal is what makes the exit code 0."""
        if self._close_at is not None:
            self.force_exit = self.should_exit = True
            return
        self._close_at = time.monotonic() + self._drain_seconds
        self._on_drain()
        # Clients take their connections elsewhere before the server ends them.
        self.config.encoded_headers.append(_CLOSE)
        self.server_state.default_headers.append(_CLOSE)

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second by uvicorn; True ends the main loop."""
        if self._close_at is not None and time.monotonic() >= self._close_at:
            self.should_exit = True
        return await super().on_tick(counter)


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket. Raises ListenError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ListenError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
    return listener


async def serve(
    app: Any,
    listener: socket.socket,
    *,
    on_drain: Callable[[], None],
    drain_seconds: float,
    ends_with_stdin: bool = False,
    limits: ConnectionLimits | None = None,
    failure: Failure | None = None,
) -> None:
    """Serves ``app`` on ``listener`` until a signal, or until stdin ends if so asked: then the
    supervisor at its other end reads a line ``serving`` from stdout first.

    The app's lifespan is the caller's: it surrounds this call.

    Raises:
        ProcessFailed: ``failure`` was set; nothing is served any more.
    """
    config = uvicorn.Config(
        app,
        loop="none",
        http=protocol_class(limits or ConnectionLimits()),
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=int(min(GRACEFUL_SECONDS, _STOP_SECONDS - drain_seconds)),
    )
    server = DrainingServer(config, on_drain, drain_seconds)
    if ends_with_stdin:
        _stop_at_end_of_stdin(server)
        _say_that_it_serves()
    calm_garbage_collector()
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    if failure is None:
        await serving
    else:
        await _serve_until(failure, server, serving)


async def _serve_until(
    failure: Failure, server: DrainingServer, serving: asyncio.Task[None]
) -> None:
    failed = asyncio.create_task(failure.wait())
    await asyncio.wait({failed, serving}, return_when=asyncio.FIRST_COMPLETED)
    failed.cancel()
    if failure.reason is not None:
        server.should_exit = server.force_exit = True
    await serving
    if failure.reason is not None:
        raise ProcessFailed(failure.reason)


def raise_descriptor_limit() -> None:
    """Lets this process have as many connections and files open as the system allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def calm_garbage_collector() -> None:
    """Keeps the cyclic collector from walking what lives long: modules and settings now, visitors'
    windows and cached forms later. A full collection of them holds the event loop for some 40 ms,
    and what requests leave behind is found in the young generations."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)


def run(main: Callable[[], Any]) -> None:
    """Runs the coroutine function ``main`` on a uvloop event loop."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        # Heeded in asyncio's debug mode only (PYTHONASYNCIODEBUG=1).
        runner.get_loop().slow_callback_duration = SLOW_CALLBACK_SECONDS
        runner.run(main())


def _say_that_it_serves() -> None:
    # The supervisor may be gone: then stdin ends, which ends this process.
    with suppress(BrokenPipeError):
        os.write(sys.stdout.fileno(), b"serving\n")


def _stop_at_end_of_stdin(server: DrainingServer) -> None:
    """A supervisor holds the other end: when it dies, however it dies, so do its children."""
    loop = asyncio.get_running_loop()
    descriptor = sys.stdin.fileno()

    def on_readable() -> None:
        if not os.read(descriptor, 1024):
            loop.remove_reader(descriptor)
            server.handle_exit(0, None)

    loop.add_reader(descriptor, on_readable)
