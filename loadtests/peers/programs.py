"""How each peer is started."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from loadtests.peers.installs import (
    FASTAPI_APP,
    FASTAPI_PYTHON,
    FASTIFY_APP,
    find_nginx,
    why_no_fastapi,
    why_no_fastify,
    why_no_nginx,
)

ROOT = Path(__file__).parents[2]
_FLOORS = Path(__file__).parent / "floors"
_DATABASE = "peer.sqlite3"


@dataclass(frozen=True)
class Launch:
    """What a peer is told: its directory, its port and a visitor's limit."""

    directory: Path
    port: int
    posts_per_minute: int

    @property
    def database(self) -> Path:
        """Where a peer that stores keeps its rows."""
        return self.directory / _DATABASE


@dataclass(frozen=True)
class Start:
    """A process to start; ``environment`` is added to this process's."""

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Program:
    """A peer; ``why_missing`` is None where it can run."""

    start: Callable[[Launch], Start]
    is_floor: bool = False
    why_missing: Callable[[], str | None] = lambda: None


def why_missing(name: str) -> str | None:
    """None if the peer can run here, else one line: what is missing, and how to get it."""
    return PROGRAMS[name].why_missing()


def _nginx(launch: Launch) -> Start:
    configuration = launch.directory / "nginx.conf"
    text = (_FLOORS / "nginx.conf").read_text()
    configuration.write_text(text.replace("PORT", str(launch.port)))
    prefix = ("-p", str(launch.directory), "-c", str(configuration), "-e", "stderr")
    return Start((find_nginx() or "nginx", *prefix))


def _uvicorn_floor(module: str) -> Callable[[Launch], Start]:
    return lambda launch: Start(
        (sys.executable, *_uvicorn(launch), f"loadtests.peers.floors.{module}:app")
    )


def _bare(launch: Launch) -> Start:
    return Start((sys.executable, "-m", "loadtests.peers.floors.bare", str(launch.port)))


def _fastapi(launch: Launch) -> Start:
    application = ("--app-dir", str(FASTAPI_APP.parent), "fastapi_app.main:app")
    proxy = ("--proxy-headers", "--forwarded-allow-ips", "127.0.0.1")
    command = (str(FASTAPI_PYTHON), *_uvicorn(launch), *proxy, *application)
    return Start(command, _environment(launch))


def _fastify(*options: str) -> Callable[[Launch], Start]:
    return lambda launch: Start(
        ("node", str(FASTIFY_APP / "server.mjs"), *options),
        _environment(launch) | {"NODE_ENV": "production"},
    )


def _uvicorn(launch: Launch) -> tuple[str, ...]:
    address = ("--host", "127.0.0.1", "--port", str(launch.port))
    quiet = ("--no-access-log", "--log-level", "warning")
    return ("-m", "uvicorn", "--loop", "uvloop", "--http", "httptools", *address, *quiet)


def _environment(launch: Launch) -> dict[str, str]:
    return {
        "PEER_DATABASE": str(launch.database),
        "PEER_PORT": str(launch.port),
        "PEER_POSTS_PER_MINUTE": str(launch.posts_per_minute),
    }


PROGRAMS: dict[str, Program] = {
    "nginx": Program(_nginx, is_floor=True, why_missing=why_no_nginx),
    "bare": Program(_bare, is_floor=True),
    "uvicorn-hello": Program(_uvicorn_floor("uvicorn_hello"), is_floor=True),
    "uvicorn-parse": Program(_uvicorn_floor("uvicorn_parse"), is_floor=True),
    "fastapi": Program(_fastapi, why_missing=why_no_fastapi),
    "fastify": Program(_fastify(), why_missing=why_no_fastify),
    "fastify-group": Program(_fastify("--group"), why_missing=why_no_fastify),
}
PEERS: tuple[str, ...] = tuple(PROGRAMS)
