"""Puts the gateway together: its parts, its routes, start and stop."""

import asyncio
import os
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus

import httpx
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from contracts import VERSION
from contracts.addresses import ClientAddress
from contracts.internal import GatewayState
from contracts.probes import ProbeTokens
from contracts.problems import Problem, Rejected, problem_document
from contracts.runtime.clock import Clock, SystemClock
from contracts.runtime.failure import Failure
from contracts.runtime.ratelimit import create_rate_limiter
from contracts.runtime.settings import Settings
from gateway.answers import THANK_YOU, THANKS_PATH
from gateway.challenge import Challenge
from gateway.config.feed import FedCache, Feed, FeedState
from gateway.config.forms import FormCache
from gateway.config.keys import KeyCache
from gateway.config.snapshot import SnapshotFile
from gateway.config.snapshot_keeper import SnapshotKeeper
from gateway.declared_fields import DeclaredFields
from gateway.fallback import Fallback
from gateway.forwarder import Forwarder
from gateway.idempotency import Idempotency
from gateway.ingest import PREFIX, Ingest, Parts
from gateway.metrics import CONTENT_TYPE, Levels, exposition
from gateway.outage import Outage
from gateway.parsing.bodies import BodyLimits
from gateway.passthrough import Passthrough
from gateway.posts import PostReader
from gateway.quota import QuotaCache
from gateway.uploads import Staging
from gateway.upstream import Upstream
from gateway.usage import UsageReporter

# They are of visitors who are gone: whoever waited for an answer had time to get it.
_LEFT_BATCHES_SECONDS = 1.0


class Gateway:
    """The ASGI app: posts go to the ingest endpoint, everything else to Starlette.

    ``running`` surrounds serving: it starts the parts and stops them in reverse order.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        worker: int = 0,
        workers: int = 1,
    ) -> None:
        """``transport`` replaces the network between gateway and backend, for tests. ``worker`` is
        the number among the ``workers`` of one listener: each has a spool of its own."""
        clock = clock or SystemClock()
        token = settings.required_internal_token()
        addresses = ClientAddress(settings.trusted_proxies, settings.client_ip_header)
        self.failure = Failure()
        self._settings = settings
        self._upstream = Upstream(settings.backend_url, token, transport)
        self._passthrough = Passthrough(settings.backend_url, addresses, token, transport)
        self._forms = FormCache(self._upstream, clock)
        self._keys = KeyCache(self._upstream, clock, token)
        quota = QuotaCache(clock)
        self._outage = Outage(clock)
        self._fallback = Fallback(
            settings, worker, workers, self._upstream, self._outage, self.failure, clock
        )
        self._idempotency = Idempotency(self._upstream, clock)
        caches: list[FedCache] = [
            self._forms,
            self._keys,
            quota,
            self._idempotency,
            self._fallback,
        ]
        self._feed = Feed(
            self._upstream,
            caches,
            clock,
            on_interrupted=self._outage.wake,
            describe=self._describe,
        )
        snapshot = SnapshotFile(settings.data_dir / f"gateway-{worker}.snapshot", token)
        self._snapshots = SnapshotKeeper(snapshot, self._forms, self._keys, self._feed, clock)
        self._forwarder = Forwarder(self._upstream, quota, self._outage, self._fallback)
        self._limiter = create_rate_limiter(
            settings.rate_limit_url, clock, settings.rate_limit_visitors
        )
        self._challenge = Challenge(settings.turnstile_verify_url, clock=clock)
        self._staging = Staging(settings.staging_dir or settings.data_dir / "staging")
        self._usage = UsageReporter(self._upstream.report_usage)
        self._is_draining = False
        self._ingest = Ingest(
            Parts(
                clock=clock,
                reader=PostReader(addresses, clock, PREFIX),
                forms=self._forms,
                keys=self._keys,
                probes=ProbeTokens(token),
                limiter=self._limiter,
                staging=self._staging,
                idempotency=self._idempotency,
                declared=DeclaredFields(),
                quota=quota,
                challenge=self._challenge,
                forwarder=self._forwarder,
                usage=self._usage,
                limits=_body_limits(settings),
                problem_base=settings.problem_base,
            )
        )
        self._rest = self._starlette_app()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "http" and scope["path"].startswith(PREFIX):
            await self._ingest(scope, receive, send)
        else:
            await self._rest(scope, receive, send)

    def drain(self) -> None:
        """Turns readiness off; the server stops listening later."""
        self._is_draining = True

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Everything that goes on beside posts, while the block runs; stopped in reverse order.

        Raises:
            SettingsError: the spool cannot be had.
        """
        await asyncio.to_thread(self._staging.clean)
        try:
            async with self._fallback.opened(), self._configured():
                yield
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._forwarder.drained(), _LEFT_BATCHES_SECONDS)
        finally:
            self._staging.close()
            await self._challenge.close()
            await self._limiter.close()
            await self._passthrough.close()
            await self._upstream.close()

    @asynccontextmanager
    async def _configured(self) -> AsyncIterator[None]:
        """Knows what an earlier process knew, then follows the feed."""
        await self._snapshots.load()
        loops = {
            "the feed": self._feed.follow(),
            "the snapshot": self._snapshots.keep(),
            "the report of usage": self._usage.run(),
        }
        try:
            async with self.failure.watching(loops):
                yield
        finally:
            await asyncio.gather(self._usage.finish(), self._snapshots.save())

    def _starlette_app(self) -> Starlette:
        routes: list[Route | Mount] = [
            Route("/livez", _livez),
            Route("/readyz", self._readyz),
            Route("/metrics", self._metrics),
            Route(THANKS_PATH, _thanks),
        ]
        if self._settings.gateway_passthrough:
            routes.append(Mount("/", app=self._passthrough))
        return Starlette(
            routes=routes,
            exception_handlers={
                Rejected: self._refuse,
                HTTPException: self._refuse,
                Exception: self._refuse,
            },
        )

    async def _readyz(self, request: Request) -> Response:
        # Computed from flags, without I/O: can this gateway accept a post?
        reasons = self._reasons_not_to_be_ready()
        document = {
            "status": "unready" if reasons else "ready",
            "reasons": reasons,
            "feed": self._feed.state.value,
            "backend": "away" if self._outage.is_on else "reachable",
            "draining": self._is_draining,
        }
        return JSONResponse(document, status_code=503 if reasons else 200)

    def _reasons_not_to_be_ready(self) -> list[str]:
        silent = self._feed.state in {FeedState.SILENT, FeedState.ENDED}
        is_sheltering = self._outage.is_on and self._fallback.shelter is not None
        checks = {
            "draining": self._is_draining,
            "failed": self.failure.reason is not None,
            "no configuration": not (self._feed.was_heard or self._snapshots.was_loaded),
            # While the backend is away altogether that is no reason to turn away what is spooled.
            "feed silent": silent and not is_sheltering,
            "spool full": is_sheltering and not self._fallback.has_room,
        }
        return [reason for reason, holds in checks.items() if holds]

    async def _metrics(self, request: Request) -> Response:
        body = exposition(self._ingest.outcomes, self._limiter, self._levels())
        return Response(body, headers={"content-type": CONTENT_TYPE})

    def _describe(self) -> GatewayState:
        spool = self._fallback.spool
        name = f"{socket.gethostname()}, process {os.getpid()}"
        spooled = (spool.count if spool else 0) + self._fallback.left_behind
        return GatewayState(name, VERSION, self._is_draining, spooled)

    def _levels(self) -> Levels:
        spool, leases = self._fallback.spool, self._fallback.leases
        return Levels(
            is_backend_away=self._outage.is_on,
            feed_silent_seconds=self._feed.silent_seconds,
            forms=len(self._forms),
            form_hits=self._forms.hits,
            form_misses=self._forms.misses,
            keys=len(self._keys),
            absent_forms=self._forms.absent,
            refused_keys=self._keys.refused,
            idempotency_keys=len(self._idempotency),
            rate_limit_windows=self._limiter.windows_held,
            spool_submissions=spool.count if spool else 0,
            spool_bytes=spool.bytes if spool else 0,
            spool_rejected=spool.rejected_count if spool else 0,
            spool_rejected_bytes=spool.rejected_bytes if spool else 0,
            spool_left_behind=self._fallback.left_behind,
            spool_oldest_seconds=spool.oldest_age_seconds if spool else 0.0,
            lease_units_unspent=leases.unspent if leases else 0,
            lease_units_spooled=leases.spooled if leases else 0,
        )

    async def _refuse(self, request: Request, error: Exception) -> Response:
        rejected = error if isinstance(error, Rejected) else _rejected(error)
        return JSONResponse(
            problem_document(rejected, self._settings.problem_base),
            status_code=rejected.problem.status,
            headers=rejected.headers | {"X-Request-Id": secrets.token_hex(8)},
            media_type="application/problem+json",
        )


async def _livez(request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _thanks(request: Request) -> Response:
    headers = {name.decode(): value.decode() for name, value in THANK_YOU.headers}
    return Response(THANK_YOU.body, headers=headers)


def _rejected(error: Exception) -> Rejected:
    if not isinstance(error, HTTPException):
        # Starlette raises it again behind the answer, and the server logs it.
        return Rejected(Problem.INTERNAL, "Something went wrong on our side. Try again.")
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return Rejected(
            Problem.METHOD_NOT_ALLOWED, "Use GET here.", headers=dict(error.headers or {})
        )
    return Rejected(Problem.NOT_FOUND, "There is nothing at this address.")


def _body_limits(settings: Settings) -> BodyLimits:
    return BodyLimits(
        fields=settings.max_fields,
        name_bytes=settings.max_name_bytes,
        value_bytes=settings.max_value_bytes,
        body_bytes=settings.max_body_bytes,
        json_depth=settings.max_json_depth,
        files=settings.max_files,
    )
