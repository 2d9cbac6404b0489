"""A real server with the hardened protocol: in a thread for most tests, or as a process."""

import asyncio
import contextlib
import os
import resource
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
import uvloop

from contracts.runtime.listening import listen
from contracts.runtime.protocol import ConnectionLimits, HardenedProtocol, protocol_class
from contracts.runtime.serving import DrainingServer, run, serve

WAIT_SECONDS = 10.0
BIG = 16 * 1024 * 1024
_BIG_BODY = bytes(BIG)


class App:
    """A tiny ASGI app. ``go`` is what its waiting paths wait for; ``seen`` lists what it was asked.

    ``/early`` answers 413 and closes without reading the body, ``/early-keep`` without closing;
    ``/wait`` reads the body, then waits; ``/wait-first`` waits, then reads; ``/big`` is a large
    answer; anything else is told how many bytes of body it sent.
    """

    def __init__(self) -> None:
        self.go = threading.Event()
        self.seen: list[str] = []
        self.headers: list[tuple[bytes, bytes]] = []
        self.disconnects = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"]
        self.seen.append(path)
        self.headers = scope["headers"]
        if path.startswith("/early"):
            extra = [] if path == "/early-keep" else [(b"connection", b"close")]
            await _answer(send, 413, b"too large", extra)
            return
        if path == "/wait-first":
            await self._wait()
        size = await _read(receive)
        if size is None:
            self.disconnects += 1
            return
        if path == "/wait":
            await self._wait()
        await _answer(send, 200, _BIG_BODY if path == "/big" else b"%s %d" % (path.encode(), size))

    async def _wait(self) -> None:
        while not self.go.is_set():
            await asyncio.sleep(0.005)


class Running:
    """A server in a thread."""

    def __init__(self, limits: ConnectionLimits, keep_alive: float = 30.0) -> None:
        self.app = App()
        self.protocol = protocol_class(limits)
        self._listener = listen("127.0.0.1", 0)
        self.port: int = self._listener.getsockname()[1]
        config = uvicorn.Config(
            self.app,
            loop="none",
            http=self.protocol,
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            timeout_graceful_shutdown=5,
        )
        config.timeout_keep_alive = keep_alive  # type: ignore[assignment]
        self.server = DrainingServer(config, lambda: None, 0.0)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        until(lambda: self.server.started)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self.server.serve(sockets=[self._listener]))

    def stop(self) -> None:
        """Returns when the server has shut down gracefully."""
        self.app.go.set()
        self.server.handle_exit(0, None)
        self._thread.join(WAIT_SECONDS)
        assert not self._thread.is_alive()

    def connect(self, source: str = "127.0.0.1") -> socket.socket:
        """A client's socket."""
        address = ("127.0.0.1", self.port)
        return socket.create_connection(address, WAIT_SECONDS, source_address=(source, 0))

    @property
    def connections(self) -> list[HardenedProtocol]:
        """The connections that uvicorn knows."""
        return [
            c
            for c in tuple(self.server.server_state.connections)
            if isinstance(c, HardenedProtocol)
        ]


@contextlib.contextmanager
def running(keep_alive: float = 30.0, **limits: Any) -> Iterator[Running]:
    """A server whose limits are generous where ``limits`` does not say otherwise, swept often."""
    server = Running(ConnectionLimits(**{"sweep_seconds": 0.02} | limits), keep_alive)
    try:
        yield server
    finally:
        server.stop()


def until(condition: Callable[[], bool], seconds: float = WAIT_SECONDS) -> None:
    """Waits for a condition; fails after the deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.005)


def send(client: socket.socket, raw: bytes, piece: int | None = None) -> None:
    """All at once, or in writes of ``piece`` bytes; the server may hang up in between."""
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    step = piece or len(raw)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        for start in range(0, len(raw), step):
            client.sendall(raw[start : start + step])


def read_to_end(client: socket.socket) -> bytes:
    """What the server sends until it closes."""
    answer = b""
    while data := client.recv(65_536):
        answer += data
    return answer


async def _read(receive: Any) -> int | None:
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        size += len(message["body"])
        if not message["more_body"]:
            return size


async def _answer(
    send: Any, status: int, body: bytes, extra: list[tuple[bytes, bytes]] | None = None
) -> None:
    headers = [(b"content-length", b"%d" % len(body)), *(extra or [])]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def main(descriptors: int) -> None:
    """A process with so few descriptors, served as the product serves; prints its port."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, hard))
    listener = listen("127.0.0.1", 0)
    os.write(1, b"%d\n" % listener.getsockname()[1])
    limits = ConnectionLimits(reserved_descriptors=0, sweep_seconds=0.05)
    run(lambda: serve(App(), listener, on_drain=_say_draining, drain_seconds=0.3, limits=limits))


def _say_draining() -> None:
    os.write(1, b"draining\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
