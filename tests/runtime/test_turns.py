"""How many requests are worked on at once, and whose turn it is."""

import asyncio

import pytest

from contracts.runtime.turns import Turns
from tests.runtime.server import read_to_end, running, send, until


class Work:
    """Requests by name: those at work, in the order in which they began."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.at_work: dict[str, int] = {}
        self.began: list[str] = []

    def come(self, *names: str) -> None:
        loop = asyncio.get_running_loop()
        for name in names:
            self.turns.wait(loop, lambda name=name: self._begin(name))  # type: ignore[misc]

    def end(self, name: str) -> None:
        self.turns.end(self.at_work.pop(name))

    def _begin(self, name: str) -> None:
        self.began.append(name)
        self.at_work[name] = self.turns.begin()


@pytest.mark.asyncio
async def test_so_many_work_at_once_and_the_rest_in_order_of_arrival() -> None:
    work = Work(Turns(2))
    work.come("a", "b", "c", "d", "e")
    assert work.began == ["a", "b"]
    work.end("b")
    assert work.began == ["a", "b", "c"]
    work.end("a")
    work.come("f")
    assert work.began == ["a", "b", "c", "d"]
    for name in "cdef":
        work.end(name)
    assert work.began == ["a", "b", "c", "d", "e", "f"]
    assert not work.at_work


@pytest.mark.asyncio
async def test_who_works_for_long_holds_nobody_up() -> None:
    work = Work(Turns(2))
    work.come("stuck", "stuck, too", "next", "last")
    async with asyncio.timeout(5.0):
        while len(work.began) < 4:
            await asyncio.sleep(0.01)
    # That the two end late must not count for those who are at work now.
    work.end("stuck")
    work.end("stuck, too")
    work.come("later")
    assert work.began == ["stuck", "stuck, too", "next", "last"]
    work.end("next")
    assert work.began[-1] == "later"


def test_a_server_answers_beside_requests_that_all_hang() -> None:
    with running(at_once=8) as server:
        hanging = [server.connect() for _ in range(40)]
        for client in hanging:
            send(client, b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
        with server.connect() as honest:
            send(honest, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert read_to_end(honest).endswith(b"/ 0")
        assert server.app.seen.count("/wait") == 40
        server.app.go.set()
        for client in hanging:
            with client:
                assert client.recv(1024).startswith(b"HTTP/1.1 200")


def test_a_client_that_leaves_before_its_turn_costs_no_turn() -> None:
    with running(at_once=1) as server:
        first, gone, last = (server.connect() for _ in range(3))
        send(first, b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
        until(lambda: server.app.seen == ["/wait"])
        send(gone, b"GET /gone HTTP/1.1\r\nHost: a\r\n\r\n")
        gone.close()
        server.app.go.set()
        send(last, b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        with first, last:
            assert read_to_end(last).endswith(b"/last 0")
            assert first.recv(1024).startswith(b"HTTP/1.1 200")
