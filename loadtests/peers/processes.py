"""A peer as a running process."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from loadtests.peers.programs import PROGRAMS, ROOT, Launch, Start
from loadtests.peers.store import PeerStore
from loadtests.targets import Target

_START_SECONDS = 30.0
_STOP_SECONDS = 10.0
_POSTS_PER_MINUTE = 100_000


@contextmanager
def running(
    name: str, directory: Path, posts_per_minute: int = _POSTS_PER_MINUTE
) -> Iterator[Target]:
    """A peer that keeps its files in the directory, from its first answer on.

    Raises:
        RuntimeError: it cannot run here, or it did not start; the message says why.
    """
    program = PROGRAMS[name]
    if missing := program.why_missing():
        raise RuntimeError(f"{name}: {missing}")
    directory.mkdir(parents=True, exist_ok=True)
    launch = Launch(directory, _free_port(), posts_per_minute)
    origin = f"http://127.0.0.1:{launch.port}"
    with _process(program.start(launch), directory / f"{name}.log") as process:
        _wait_until_it_answers(process, origin, directory / f"{name}.log")
        store = None if program.is_floor else PeerStore(launch.database, origin)
        yield Target(name, origin, "/v1/f/demo", {"server": (process.pid,)}, store)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def _process(start: Start, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The process, which is gone after the block."""
    with log.open("ab") as stderr:
        process = subprocess.Popen(
            start.command,
            cwd=ROOT,
            env=os.environ | start.environment,
            stdout=stderr,
            stderr=stderr,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_it_answers(process: subprocess.Popen[bytes], origin: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    with httpx.Client(timeout=5) as client:
        while not _answers(client, origin):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the peer did not start:\n{log.read_text()}")
            time.sleep(0.02)


def _answers(client: httpx.Client, origin: str) -> bool:
    # Floors answer whatever they are asked.
    try:
        return client.get(f"{origin}/durability").is_success
    except httpx.TransportError:
        return False
