"""Where a process listens, and where another finds it: on TCP, or at the path of a Unix socket."""

import os
import re
from dataclasses import dataclass

# With the NUL behind it what `sun_path` holds on every system: 104 bytes on macOS, 108 on Linux.
SOCKET_PATH_BYTES_MAX = 103
_PORT_MAX = 65_535
# Also as the Docker command line writes it, with two more slashes.
_UNIX = re.compile(r"unix:(?://)?(/[^/].*)")
_ORIGIN = re.compile(r"https?://[^/]+/?")
_HOST_AND_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^][:/\s]+):([0-9]{1,5})")
# Where a process is reached that listens on every address.
_REACHED_AT = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- compared, not bound
# What HTTP calls the other end of a Unix socket: RFC 9110 (7.2) wants a Host in every request.
_SOCKET_ORIGIN = "http://localhost"


@dataclass(frozen=True, slots=True)
class TcpEndpoint:
    """An address and a port to listen on."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """Where a process of this machine finds it."""
        return origin_at(self.host, self.port)


@dataclass(frozen=True, slots=True)
class UnixEndpoint:
    """The absolute path of a Unix socket to listen on."""

    path: str

    @property
    def url(self) -> str:
        """Where a process of this machine finds it."""
        return f"unix:{self.path}"


Endpoint = TcpEndpoint | UnixEndpoint


@dataclass(frozen=True, slots=True)
class Peer:
    """A server as its clients see it: an HTTP origin, and the path of the Unix socket that leads
    there; None if the origin's address does."""

    origin: str
    socket_path: str | None


def parse_endpoint(text: str) -> Endpoint:
    """``host:port``, ``[::1]:port`` or ``unix:/path``. Raises ValueError."""
    path = _socket_path(text)
    if path is not None:
        return UnixEndpoint(path)
    match = _HOST_AND_PORT.fullmatch(text)
    if match is None or not 1 <= int(match[2]) <= _PORT_MAX:
        raise ValueError("must be host:port, [IPv6 address]:port or unix:/path/of/the/socket")
    return TcpEndpoint(match[1].strip("[]"), int(match[2]))


def parse_peer(url: str) -> Peer:
    """``http://host:port``, ``https://…`` or ``unix:/path``. Raises ValueError."""
    path = _socket_path(url)
    if path is not None:
        return Peer(_SOCKET_ORIGIN, path)
    if _ORIGIN.fullmatch(url) is None:
        raise ValueError("must be http://host:port, https://host:port or unix:/path/of/the/socket")
    return Peer(url.rstrip("/"), None)


def origin_at(host: str, port: int) -> str:
    """The origin, on this machine, of a process that listens on an address and a port."""
    host = _REACHED_AT.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _socket_path(text: str) -> str | None:
    match = _UNIX.fullmatch(text)
    if match is None:
        return None
    size = len(os.fsencode(match[1]))
    if size > SOCKET_PATH_BYTES_MAX:
        raise ValueError(
            f"the path of a socket has at most {SOCKET_PATH_BYTES_MAX} bytes, this one has {size}"
        )
    return match[1]
