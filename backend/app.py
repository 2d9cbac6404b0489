"""Puts the backend together: services, routes, start and stop."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from backend.answers import json_response
from backend.api import finish_app
from backend.changes import create_state
from backend.console.console import console_routes
from backend.db import Database
from backend.delivery import store as delivery_store
from backend.delivery.dispatcher import Dispatcher
from backend.delivery.recorder import DeliveryCounts, Recorder
from backend.delivery.retention import DeliveryRetention
from backend.delivery.schedule import Schedule
from backend.delivery.targets import Targets, pool_size
from backend.internal.batches import BatchEndpoint
from backend.internal.routes import internal_routes
from backend.management import OPERATIONS, management_routes
from backend.metrics import CONTENT_TYPE, CommitCounts, exposition
from backend.oidc.backchannel import backchannel_routes
from backend.rest import Rest
from backend.schema import ensure_schema
from backend.search.indexer import Indexer
from backend.services import create_services
from backend.silence.service import SilenceAlarm
from backend.sweeper import Sweeper
from contracts.runtime.clock import Clock, SystemClock
from contracts.runtime.settings import Settings
from contracts.runtime.telemetry import get_logger
from contracts.turnstile import is_dummy_secret

# Of a start on SQLite: as long as 100 MB take.
_CHECK_SECONDS = 0.25
# Delivery has the writer and the processors for two thirds of the time at most, and for little of
# it while there is much to commit.
_DELIVERY_REST = 0.5
_DELIVERY_REST_WHILE_BUSY = 20.0
_BUSY_ITEMS_PER_SECOND = 1_500.0


class Backend:
    """The ASGI app. ``running`` surrounds serving: it opens the database and closes it."""

    def __init__(
        self, settings: Settings, clock: Clock | None = None, operator_token: str | None = None
    ) -> None:
        """With an ``operator_token`` the app serves the command line inside its own process: that
        bearer is the local operator, and there is no internal surface.

        The app serves everything; ``public`` is all of it but the internal surface, for the port
        that clients reach where that surface has an address of its own."""
        clock = clock or SystemClock()
        self._database = Database(settings.sqlalchemy_url())
        self.failure = self._database.failure
        self._settings = settings
        self._services = create_services(settings, clock, self._database, operator_token)
        provider = self._services.identity_provider
        self._sweeper = Sweeper(
            self._database,
            self._services.files,
            clock,
            self._services.removal.sweep,
            self._services.retention.sweep,
            self._services.audit.remove_expired,
            self._services.usage_reports.forget_ended,
            self._services.sessions.remove_past,
            DeliveryRetention(self._database, clock).sweep,
            self._services.webhooks.sweep,
            SilenceAlarm(self._database, clock).sweep,
            *([provider.refresher.sweep] if provider else []),
        )
        self._is_server = operator_token is None
        self._is_draining = False
        self._commits = CommitCounts()
        self._indexer = Indexer(self._database, clock, lambda: self._commits.batches)
        self._delivery_counts = DeliveryCounts()
        rest = Rest(
            lambda: self._commits.items.total(),
            _BUSY_ITEMS_PER_SECOND,
            _DELIVERY_REST,
            _DELIVERY_REST_WHILE_BUSY,
        )
        schedule = Schedule(settings.delivery_retry_seconds, settings.delivery_attempts)
        self._recorder = Recorder(self._database, clock, schedule, rest)
        self._dispatcher = Dispatcher(
            self._database,
            clock,
            self._services.senders,
            self._recorder,
            self._services.doorbell,
            Targets(clock, pool_size()),
            rest,
            self._delivery_counts,
        )
        routes: list[BaseRoute] = [
            Route("/livez", _livez),
            Route("/readyz", self._readyz),
            Route("/metrics", self._metrics),
            *management_routes(self._services),
        ]
        if operator_token is None:
            routes += console_routes(self._services, OPERATIONS)
            routes += backchannel_routes(self._services)
        self.public: ASGIApp = self._finished(routes, clock)
        self._app = self.public
        if operator_token is None:
            token = settings.required_internal_token()
            self._app = BatchEndpoint(
                self._finished([*routes, *internal_routes(self._services, token)], clock),
                self._services.intake,
                token,
                settings.problem_base,
                self._commits,
            )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        await self._app(scope, receive, send)

    def drain(self) -> None:
        """Turns readiness off and lets waiting polls go; the server stops listening later."""
        self._is_draining = True
        self._services.feed.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Brings SQLite's schema up to date and opens the database while the block runs.

        Raises:
            SettingsError: the database is damaged, or its schema is not that of this release.
            SchemaError: it is of a newer release.
        """
        try:
            await self._prepare()
            async with self._background():
                yield
        finally:
            await self._services.api_limits.close()
            await self._services.mail_sender.close()
            await self._services.outbound.close()
            if self._services.identity_provider is not None:
                await self._services.identity_provider.close()
            await self._database.close()

    @asynccontextmanager
    async def _background(self) -> AsyncIterator[None]:
        """What a server does beside answering; a command's process does not live long enough."""
        if not self._is_server:
            yield
            return
        await self._dispatcher.resume()
        provider = self._services.identity_provider
        loops = {
            "the sweeper": self._sweeper.run(),
            "the removal of deleted forms": self._services.removal.run(),
            "the indexer": self._indexer.run(),
            "delivery": self._dispatcher.run(),
            "the log of deliveries": self._recorder.run(),
            "the recorder of refused credentials": self._services.refusals.run(),
            "the recorder of used keys": self._services.key_use.run(),
            "the count of API calls": self._services.api_calls.run(),
            "the recorder of used sessions": self._services.session_use.run(),
            "the desk for links to sign in": self._services.sign_in_desk.run(),
        }
        if provider is not None:
            loops["the refresher of sessions"] = provider.refresher.run()
        try:
            async with self.failure.watching(loops):
                yield
        finally:
            await self._dispatcher.finish()
            await self._services.refusals.flush_quietly()
            await self._services.key_use.flush_quietly()
            await self._services.api_calls.flush_quietly()
            await self._services.session_use.flush_quietly()
            await self._services.sign_in_desk.flush_quietly()
            if provider is not None:
                await provider.refresher.finish()

    async def _prepare(self) -> None:
        if self._is_server and not await self._database.check(_CHECK_SECONDS):
            get_logger("backend").info(
                "too large to be checked for damage at the start: formflow doctor does"
            )
        await ensure_schema(self._database)
        async with self._database.write() as connection:
            await create_state(connection)
        _warn_of_dummy_secret(self._settings)

    def _finished(self, routes: Sequence[BaseRoute], clock: Clock) -> ASGIApp:
        app = Starlette(routes=routes)
        return finish_app(app, self._settings.problem_base, clock, self._services)

    async def _metrics(self, _: Request) -> Response:
        durability = await self._database.durability()
        log_bytes = await self._database.log_bytes()
        async with self._database.read() as connection:
            backlog = await delivery_store.counts(connection)
        body = exposition(self._commits, self._delivery_counts, backlog, durability, log_bytes)
        return Response(body, headers={"content-type": CONTENT_TYPE})

    async def _readyz(self, _: Request) -> Response:
        # From a flag, without I/O: the database was there at the start, and each request says for
        # itself if it no longer is.
        is_unready = self._is_draining or self.failure.reason is not None
        document = {
            "status": "unready" if is_unready else "ready",
            "draining": self._is_draining,
            "failed": self.failure.reason,
        }
        return json_response(document, 503 if is_unready else 200)


def _warn_of_dummy_secret(settings: Settings) -> None:
    secret = settings.turnstile_secret
    if secret is not None and is_dummy_secret(secret.get_secret_value()):
        get_logger("backend").warning(
            "FORMFLOW_TURNSTILE_SECRET is one of Cloudflare's test secrets and protects nothing"
        )


async def _livez(_: Request) -> Response:
    return json_response({"status": "ok"})
