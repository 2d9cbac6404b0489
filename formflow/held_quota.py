"""Quota that gateways hold on lease, in the database itself."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from backend.db import Database
from backend.internal.lease_store import Holding, holdings
from backend.internal.leases import LeaseDesk
from contracts.runtime.clock import SystemClock
from contracts.runtime.settings import Settings
from formflow.client import CommandError


async def holders(settings: Settings) -> list[Holding]:
    """The gateways that hold quota, longest unseen first. Raises Rejected(UNAVAILABLE)."""
    async with _opened(settings) as database, database.read() as connection:
        return await holdings(connection)


async def write_off(settings: Settings, holder: str) -> int:
    """Takes back what a gateway holds; the units that are free again. Raises CommandError if it
    holds nothing, Rejected(UNAVAILABLE)."""
    if holder not in {holding.holder for holding in await holders(settings)}:
        raise CommandError(f"{holder} holds nothing: formflow leases list shows who does")
    async with _opened(settings) as database:
        return await LeaseDesk(database, SystemClock()).write_off(holder)


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Database]:
    database = Database(settings.sqlalchemy_url())
    try:
        yield database
    finally:
        await database.close()
