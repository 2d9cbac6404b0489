"""Puts the backend together: services, routes, start and stop."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from backend.answers import json_response
from backend.api import finish_app
from backend.changes import create_state
from backend.db import Database
from backend.internal.routes import internal_routes
from backend.management import management_routes
from backend.schema import HEAD, current_revision, migrate
from backend.services import Services, create_services
from contracts.runtime.clock import Clock, SystemClock
from contracts.runtime.settings import Settings, SettingsError


class Readiness:
    """Whether this process takes new work."""

    def __init__(self) -> None:
        self.is_draining = False

    def drain(self) -> None:
        """Turns readiness off; the server stops listening later."""
        self.is_draining = True


def create_app(
    settings: Settings,
    *,
    clock: Clock | None = None,
    operator_token: str | None = None,
    readiness: Readiness | None = None,
) -> Starlette:
    """The ASGI app; its lifespan opens the database and closes it.

    With an ``operator_token`` the app serves the command line inside its own process: that bearer
    is the local operator, and there is no internal surface.
    """
    clock = clock or SystemClock()
    database = Database(settings.sqlalchemy_url())
    services = create_services(settings, clock, database, operator_token)
    routes = [*management_routes(services), *_health_routes(readiness or Readiness())]
    if operator_token is None:
        routes += internal_routes(services, settings.required_internal_token())

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        try:
            await _prepare(services)
            yield
        finally:
            await database.close()

    app = Starlette(routes=routes, lifespan=lifespan)
    return finish_app(app, settings.problem_base, clock)


async def _prepare(services: Services) -> None:
    database = services.database
    if database.is_sqlite:
        await migrate(database.url)
    revision = await current_revision(database)
    if revision != HEAD:
        raise SettingsError(
            f"FORMFLOW_DATABASE_URL: the schema is at version {revision or 'none'}, this release "
            f"needs {HEAD}: run `formflow migrate`"
        )
    async with database.write() as connection:
        await create_state(connection)


def _health_routes(readiness: Readiness) -> list[Route]:
    async def livez(_: Request) -> Response:
        return json_response({"status": "ok"})

    async def readyz(_: Request) -> Response:
        # Computed from flags, without I/O: the database was there at the start, and each request
        # says for itself if it no longer is.
        status = "unready" if readiness.is_draining else "ready"
        return json_response(
            {"status": status, "draining": readiness.is_draining},
            503 if readiness.is_draining else 200,
        )

    return [Route("/livez", livez), Route("/readyz", readyz)]
