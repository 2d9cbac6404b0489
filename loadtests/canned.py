"""A server that answers every request alike, as cheaply as Python can.

It is the floor that a driver is measured against, and Turnstile's siteverify that passes every
token. Run as ``python -m loadtests.canned BODY``; the first line it prints is its port.
"""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

from contracts.runtime.listening import listen
from contracts.runtime.serving import run
from loadtests.messages import UnreadableMessage, message_length

ACCEPTED = '{"ok":true}'
PASSED = '{"success":true,"error-codes":[],"hostname":"example.com","action":"","cdata":""}'


@dataclass(frozen=True)
class CannedServer:
    """A server that runs: its origin and its process."""

    origin: str
    pid: int


@contextmanager
def running_canned(body: str) -> Iterator[CannedServer]:
    """A server whose every answer is 200 with this JSON."""
    process = subprocess.Popen(
        [sys.executable, "-m", "loadtests.canned", body], stdout=subprocess.PIPE
    )
    try:
        if process.stdout is None or not (line := process.stdout.readline()):
            raise RuntimeError("the server of canned answers did not start; stderr says why")
        yield CannedServer(f"http://127.0.0.1:{int(line)}", process.pid)
    finally:
        process.terminate()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


class _Connection(asyncio.Protocol):
    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._request = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        data = self._request + data if self._request else data
        try:
            while 0 < (length := message_length(data)) <= len(data):
                data = data[length:]
                self._transport.write(self._answer)
        except UnreadableMessage:
            self._transport.abort()
        self._request = data


async def _serve() -> None:
    head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
    answer = (head % (len(sys.argv[1]), sys.argv[1])).encode()
    listener = listen("127.0.0.1", 0)
    server = await asyncio.get_running_loop().create_server(
        lambda: _Connection(answer), sock=listener
    )
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    run(_serve)
