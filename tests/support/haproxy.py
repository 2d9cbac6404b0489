"""HAProxy in front of the gateways of a fleet."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from tests.support.fleet import Fleet, free_port
from tests.support.processes import until

_STOP_SECONDS = 30.0
_CONFIGURATION = """
global
  stats socket {socket} mode 600
defaults
  mode http
  retries 0
  timeout check 2s
  timeout connect 2s
  timeout client 30s
  timeout server 30s
frontend public
  bind {address}
  default_backend gateways
backend gateways
  balance roundrobin
  option httpchk GET /readyz
  default-server check inter 100ms fall 1 rise 1
{servers}
"""


def why_no_haproxy() -> str | None:
    """Why there can be none here; None if there can."""
    if shutil.which("haproxy") is None:
        return "no HAProxy on this machine (Debian: apt-get install haproxy)"
    return None


class Haproxy:
    """Honours the gateways' readiness and never tries twice."""

    def __init__(self, fleet: Fleet) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self._socket = fleet.directory / "haproxy.sock"
        self._file = fleet.directory / "haproxy.cfg"
        names = [name for name in fleet.urls if name != "backend"]
        servers = [f"  server {name} {urlsplit(fleet.urls[name]).netloc}" for name in names]
        self._file.write_text(
            _CONFIGURATION.format(
                socket=self._socket, address=urlsplit(self.url).netloc, servers="\n".join(servers)
            )
        )

    @contextmanager
    def running(self) -> Iterator["Haproxy"]:
        """Yields once it listens."""
        process = subprocess.Popen(["haproxy", "-q", "-db", "-f", str(self._file)])
        try:
            until(self._listens)
            yield self
        finally:
            process.terminate()
            process.wait(_STOP_SECONDS)

    def is_up(self, name: str) -> bool:
        """Whether it sends requests to a gateway."""
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(str(self._socket))
            control.sendall(b"show servers state gateways\n")
            rows = b"".join(iter(lambda: control.recv(65_536), b"")).decode().splitlines()
        [state] = [row.split()[5] for row in rows if f" {name} " in row]
        return state == "2"

    def _listens(self) -> bool:
        parts = urlsplit(self.url)
        with socket.socket() as probe:
            return probe.connect_ex((parts.hostname or "", parts.port or 0)) == 0
