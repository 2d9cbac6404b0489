"""Serving an ASGI app until told to stop, and stopping in the right order.

Stock uvicorn closes its listener the moment a signal arrives, before a balancer has noticed, waits
for ever for open connections, and dies of the signal. Here the first signal turns readiness off
and keeps serving for a while; then the listener closes, what is in flight ends within a bound, and
the process exits 0, in half a minute at most, by force if need be. A second signal stops at once.
"""

import asyncio
import gc
import os
import resource
import socket
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import Any, cast

import uvicorn

from contracts.runtime.acceptor import Acceptor
from contracts.runtime.failure import Failure
from contracts.runtime.last_resort import LastResort
from contracts.runtime.listening import BACKLOG
from contracts.runtime.protocol import ConnectionLimits, protocol_class

# From the signal to the end, whatever happens: what stops us kills after 30 seconds as a rule.
STOP_SECONDS = 28.0
# Of these, the rest is for draining and for what is in flight then.
_PARTS_SECONDS = 6.0
GRACEFUL_SECONDS = 15.0
KEEP_ALIVE_SECONDS = 75
SLOW_CALLBACK_SECONDS = 0.05
_CLOSE = (b"connection", b"close")
_GC_THRESHOLDS = (100_000, 20, 1_000)


class DrainingServer(uvicorn.Server):
    """A uvicorn server that calls ``on_drain`` at the first signal and closes later."""

    def __init__(
        self,
        config: uvicorn.Config,
        on_drain: Callable[[], None],
        drain_seconds: float,
        apps: Mapping[socket.socket, Any] | None = None,
    ) -> None:
        """``apps`` are those of sockets that serve another app than the one of ``config``."""
        super().__init__(config)
        self._apps = apps or {}
        self._on_drain = on_drain
        self._drain_seconds = drain_seconds
        self._close_at: float | None = None
        self.servers = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Called by uvicorn, whose listening with the event loop's own server this replaces."""
        await self.lifespan.startup()
        for listener in sockets or ():
            # One that is bound only listens from now on.
            listener.listen(BACKLOG)
            app = self._apps.get(listener, self.config.loaded_app)
            acceptor = Acceptor(listener, partial(self._make_protocol, app))
            acceptor.start()
            self.servers.append(acceptor)  # type: ignore[arg-type]
        self.started = True

    def _make_protocol(self, app: Any) -> asyncio.BaseProtocol:
        make: Any = self.config.http_protocol_class
        protocol = make(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        protocol.app = app
        return cast(asyncio.BaseProtocol, protocol)

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


async def serve(
    app: Any,
    listener: socket.socket,
    *,
    on_drain: Callable[[], None],
    drain_seconds: float,
    ends_with_stdin: bool = False,
    limits: ConnectionLimits | None = None,
    failure: Failure | None = None,
    others: Mapping[socket.socket, Any] | None = None,
) -> None:
    """Serves ``app`` on ``listener`` until a signal, or until stdin ends if so asked: then the
    supervisor at its other end reads a line ``serving`` from stdout first.

    ``others`` are further sockets and what is served on each. All share the limits, and all close
    together. The apps' lifespan is the caller's: it surrounds this call.

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
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_graceful_seconds(drain_seconds),
    )
    last_resort = LastResort(STOP_SECONDS)

    def drain() -> None:
        last_resort.arm(0)
        on_drain()

    server = DrainingServer(config, drain, drain_seconds, others)
    if ends_with_stdin:
        _stop_at_end_of_stdin(server)
        _say_that_it_serves()
    calm_garbage_collector()
    serving = asyncio.create_task(server.serve(sockets=[listener, *(others or ())]))
    if failure is None:
        await serving
    else:
        await _serve_until(failure, server, serving, last_resort)


def _graceful_seconds(drain_seconds: float) -> int:
    return int(min(GRACEFUL_SECONDS, STOP_SECONDS - _PARTS_SECONDS - drain_seconds))


async def _serve_until(
    failure: Failure,
    server: DrainingServer,
    serving: asyncio.Task[None],
    last_resort: LastResort,
) -> None:
    failed = asyncio.create_task(failure.wait())
    await asyncio.wait({failed, serving}, return_when=asyncio.FIRST_COMPLETED)
    failed.cancel()
    if failure.reason is not None:
        last_resort.arm(1)
        server.should_exit = server.force_exit = True
    await serving
    failure.check()


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
