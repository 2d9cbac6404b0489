"""A gateway in this process, in front of a mini backend."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from contracts.runtime.clock import Clock
from contracts.runtime.settings import load_settings
from gateway.app import Gateway
from tests.support.mini_backend import TOKEN, MiniBackend

URL = "http://gateway"


@asynccontextmanager
async def running_gateway(
    backend: MiniBackend, clock: Clock | None = None, **settings: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a started gateway whose feed has been heard; without a spool if not asked for."""
    with TemporaryDirectory(prefix="formflow-") as directory:
        usual = {"internal_token": TOKEN, "log_level": "error", "spool": "off"}
        loaded = load_settings(environ={}, **(usual | {"data_dir": Path(directory)} | settings))
        gateway = Gateway(loaded, clock, backend.transport())
        async with gateway.running(), client_of(gateway) as client:
            while not backend.is_down and (await client.get("/readyz")).status_code != 200:
                await asyncio.sleep(0)
            yield client
    backend.verify()


def client_of(gateway: Gateway, peer: str = "192.0.2.7") -> httpx.AsyncClient:
    """A client whose address is ``peer``."""
    transport = httpx.ASGITransport(gateway, client=(peer, 50_000))
    return httpx.AsyncClient(transport=transport, base_url=URL)
