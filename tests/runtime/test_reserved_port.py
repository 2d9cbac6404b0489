"""The port of a process, while it is down, is nobody else's."""

import platform
import socket

import pytest

from contracts.runtime.listening import listen, reserved_port

LOOPBACK = "127.0.0.1"


@pytest.mark.skipif(platform.system() != "Linux", reason="elsewhere no port can be held so")
def test_a_reserved_port_is_its_process_alone_as_often_as_it_starts() -> None:
    with reserved_port(0) as port:
        for _ in range(2):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((LOOPBACK, port))
            with socket.socket() as other, pytest.raises(OSError, match="in use"):
                other.bind((LOOPBACK, port))
            with listen(LOOPBACK, port), socket.create_connection((LOOPBACK, port)):
                pass


def test_a_port_that_is_taken_is_not_reserved() -> None:
    with (
        socket.create_server((LOOPBACK, 0)) as taken,
        reserved_port(taken.getsockname()[1]) as port,
    ):
        assert port != taken.getsockname()[1]


def test_there_may_be_no_port_behind_the_last() -> None:
    with reserved_port(65_536) as port:
        assert port < 65_536
