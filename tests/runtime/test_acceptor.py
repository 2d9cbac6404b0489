"""Connections: many are accepted in one turn of the loop; too many end in a pause, not a spin."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvloop

from contracts.runtime.acceptor import Acceptor

_TURNS_MAX = 30
# Serves one byte a connection, with few descriptors; tells how much CPU it took at the end.
_FEW_DESCRIPTORS = """
import asyncio, resource, socket, sys, time
from contracts.runtime.acceptor import Acceptor
import uvloop
class Hello(asyncio.Protocol):
    def connection_made(self, transport):
        transport.write(b"x")
async def main():
    listener = socket.socket(fileno=int(sys.argv[1]))
    acceptor = Acceptor(listener, Hello)
    acceptor.start()
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, sys.stdin.readline)
    print(time.process_time(), flush=True)
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(main())
"""


@contextmanager
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        yield listener


def test_many_connections_are_accepted_in_few_turns() -> None:
    accepted = 0

    class Counting(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            nonlocal accepted
            accepted += 1
            transport.close()

    async def accept(listener: socket.socket, clients: int) -> int:
        acceptor = Acceptor(listener, Counting)
        acceptor.start()
        turns = 0
        while accepted < clients:
            turns += 1
            await asyncio.sleep(0)
        acceptor.close()
        await acceptor.wait_closed()
        return turns

    with listening() as listener:
        clients = [socket.create_connection(listener.getsockname()) for _ in range(300)]
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            assert runner.run(accept(listener, len(clients))) < _TURNS_MAX
        for client in clients:
            client.close()


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
def test_without_descriptors_it_waits_for_connections_to_end() -> None:
    with listening() as listener:
        server = subprocess.Popen(
            [sys.executable, "-c", _FEW_DESCRIPTORS, str(listener.fileno())],
            pass_fds=[listener.fileno()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        clients = [socket.create_connection(listener.getsockname(), 10) for _ in range(60)]
        assert clients[0].recv(1) == b"x"
        for client in clients[:50]:
            client.close()
        assert [client.recv(1) for client in clients[50:]] == [b"x"] * 10
        output, _ = server.communicate("\n", timeout=20)
        assert float(output.splitlines()[-1]) < 5.0
        for client in clients[50:]:
            client.close()
