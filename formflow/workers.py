"""``formflow gateway --workers N``: independent gateways on one address.

Each worker listens on a socket of its own (SO_REUSEPORT), from the moment it serves until it stops
or dies: the kernel spreads new connections evenly over the workers that live. On one socket shared
by all, a worker was found with two thirds of 64 connections and another with none.

The workers share nothing: each has its own caches, metrics, spool and lock and, without Redis, its
own rate limits. The first one knows how many there are: it drains what more of them have left.
"""

import asyncio
import socket
import sys
from pathlib import Path

from contracts.runtime.listening import ListenError, listen
from contracts.runtime.settings import Settings, child_environment
from contracts.runtime.telemetry import get_logger
from formflow.supervisor import Child, Supervisor, stop_signal, unless_stopped


async def run_workers(settings: Settings, port: int, *, count: int, config: Path | None) -> None:
    """Runs until a signal; raises SettingsError, ListenError or ChildFailed if it cannot."""
    settings.required_internal_token()
    log = get_logger("gateway")
    with _reserved(settings.host, port) as address:
        workers = [_worker(number, count, address, config) for number in range(count)]
        async with Supervisor(workers) as supervisor:
            stop = stop_signal(supervisor.kill)
            if settings.rate_limit_url is None:
                log.warning(
                    "each worker counts rate limits for itself, so that a visitor may post up to "
                    "that many times as often: FORMFLOW_RATE_LIMIT_URL names a Redis that counts "
                    "for all",
                    workers=count,
                )
            started = asyncio.gather(*(worker.served() for worker in workers))
            if await unless_stopped(stop, started) is not None:
                log.info("gateway serves", workers=count, port=address.getsockname()[1])
                await stop.wait()
            log.info("stopping")


def join(host: str, port: int) -> socket.socket:
    """A TCP socket bound beside those of the other workers; it does not listen yet.

    Raises ListenError.
    """
    joining = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        joining.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        joining.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        joining.bind((host, port))
    except OSError as error:
        joining.close()
        raise ListenError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
    return joining


def _reserved(host: str, port: int) -> socket.socket:
    """Keeps the port while no worker listens. Raises ListenError if somebody else does."""
    # A socket that does not share finds out: another gateway's workers would let ours join.
    with listen(host, port) as alone:
        port = alone.getsockname()[1]
    return join(host, port)


def _worker(number: int, count: int, address: socket.socket, config: Path | None) -> Child:
    host, port = address.getsockname()[:2]
    command = [sys.executable, "-m", "formflow", "gateway", "--supervised"]
    command += ["--worker", str(number), "--of", str(count), "--host", host, "--port", str(port)]
    command += ["--config", str(config)] if config else []
    return Child(f"gateway worker {number}", command, child_environment())
