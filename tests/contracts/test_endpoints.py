"""Where a process listens is where another finds it."""

import pytest

from contracts.runtime.endpoints import (
    SOCKET_PATH_BYTES_MAX,
    Endpoint,
    Peer,
    TcpEndpoint,
    UnixEndpoint,
    parse_endpoint,
    parse_peer,
)


@pytest.mark.parametrize(
    ("text", "endpoint", "peer"),
    [
        ("10.0.0.1:8789", TcpEndpoint("10.0.0.1", 8789), Peer("http://10.0.0.1:8789", None)),
        ("0.0.0.0:8789", TcpEndpoint("0.0.0.0", 8789), Peer("http://127.0.0.1:8789", None)),
        ("[::]:8789", TcpEndpoint("::", 8789), Peer("http://[::1]:8789", None)),
        ("[fd00::2]:1", TcpEndpoint("fd00::2", 1), Peer("http://[fd00::2]:1", None)),
        ("localhost:1", TcpEndpoint("localhost", 1), Peer("http://localhost:1", None)),
        ("unix:/run/b.sock", UnixEndpoint("/run/b.sock"), Peer("http://localhost", "/run/b.sock")),
        ("unix:///run/b", UnixEndpoint("/run/b"), Peer("http://localhost", "/run/b")),
        ("unix:/a b?c#d%", UnixEndpoint("/a b?c#d%"), Peer("http://localhost", "/a b?c#d%")),
    ],
)
def test_a_gateway_finds_what_a_backend_listens_on(
    text: str, endpoint: Endpoint, peer: Peer
) -> None:
    assert parse_endpoint(text) == endpoint
    assert parse_peer(endpoint.url) == peer


def test_a_path_may_be_as_long_as_the_system_allows() -> None:
    path = "/" + "x" * (SOCKET_PATH_BYTES_MAX - 1)
    assert parse_endpoint(f"unix:{path}") == UnixEndpoint(path)


def test_an_origin_may_end_with_a_slash() -> None:
    assert parse_peer("https://backend/") == Peer("https://backend", None)
