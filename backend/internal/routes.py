"""HTTP of the internal surface, but for batches. Every route needs the internal token."""

import hmac
from collections.abc import Awaitable, Callable

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from backend.accounts.bootstrap import bootstrap
from backend.accounts.store import plan_of
from backend.api_limits import BURST
from backend.caller import Caller
from backend.changes import read_state
from backend.internal import idempotency, store
from backend.internal.files import put_file, put_files
from backend.keys.store import KeyRow
from backend.keys.terms import may_post, restrictions_of
from backend.services import Services
from backend.transaction import SqlalchemyTransaction
from contracts import internal
from contracts.forms import UNRESTRICTED, KeyGrant
from contracts.problems import Problem, Rejected
from contracts.submissions import Receipt

_LOOKUP_MAX = 256

Handler = Callable[[Services, Request], Awaitable[bytes]]


def internal_routes(services: Services, token: str) -> list[Route]:
    """The routes, guarded by ``token``."""
    expected = b"Bearer " + token.encode()

    def guarded(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            sent = request.headers.get("authorization", "").encode()
            if not hmac.compare_digest(sent, expected):
                caller = services.access.caller_of(request)
                services.refusals.note(caller, None, None, "internal-token")
                raise Rejected(Problem.NOT_FOUND, "There is nothing at this address.")
            try:
                body = await handler(services, request)
            except internal.UndecodableMessage as error:
                raise Rejected(Problem.BAD_BODY, str(error)) from None
            return Response(body, media_type="application/json")

        return endpoint

    return [
        Route(internal.LOOKUP, guarded(_look_up), methods=["POST"]),
        Route(internal.VERIFY_KEY, guarded(_verify_key), methods=["POST"]),
        Route(internal.IDEMPOTENCY, guarded(_find_receipt), methods=["POST"]),
        Route(internal.FILES, guarded(put_files), methods=["POST"]),
        Route(f"{internal.FILES}/{{key:path}}", guarded(put_file), methods=["PUT"]),
        Route(internal.CHANGES, guarded(_changes), methods=["GET"]),
        Route(internal.LEASES, guarded(_state_leases), methods=["POST"]),
        Route(f"{internal.LEASES}/{{holder}}", guarded(_write_off), methods=["DELETE"]),
        Route(internal.USAGE, guarded(_take_usage_report), methods=["POST"]),
        Route(internal.BOOTSTRAP, guarded(_bootstrap), methods=["POST"]),
    ]


async def _look_up(services: Services, request: Request) -> bytes:
    slugs = internal.decode_slugs(await request.body())
    if len(slugs) > _LOOKUP_MAX:
        raise internal.UndecodableMessage(f"a look-up holds {_LOOKUP_MAX} slugs at most")
    async with services.database.read() as connection:
        # Read first: the forms are then at least as new as the revision claims.
        state = await read_state(connection)
        forms = await store.forms_by_slug(connection, services.form_configs, slugs)
    return internal.encode_lookup(internal.LookupAnswer(state.epoch, state.revision, forms))


async def _verify_key(services: Services, request: Request) -> bytes:
    question = internal.decode_key(await request.body())
    async with services.database.read() as connection:
        state = await read_state(connection)
    key = await services.verifier.verify(question.text, Caller(question.client))
    grant = None
    if key is not None and may_post(key.kind, key.scopes):
        grant = await _grant(services, key)
        if grant.restrictions is not None and not question.heeds_restrictions:
            grant = None
    return internal.encode_verify(internal.VerifyAnswer(state.epoch, state.revision, grant))


async def _grant(services: Services, key: KeyRow) -> KeyGrant:
    async with services.database.read() as connection:
        plan = services.plans.get(await plan_of(connection, key.account_id))
    restrictions = restrictions_of(key)
    return KeyGrant(
        key.key_id,
        key.account_id,
        key.revision,
        min(key.rate_limit_per_minute or plan.requests_per_minute, plan.requests_per_minute),
        key.burst or BURST,
        None if restrictions == UNRESTRICTED else restrictions,
    )


async def _find_receipt(services: Services, request: Request) -> bytes:
    question = internal.decode_idempotency_question(await request.body())
    async with services.database.read() as connection:
        bound = await connection.run_sync(
            lambda sync: idempotency.find(
                SqlalchemyTransaction(sync),
                {(question.form_id, question.key)},
                services.clock.now_ms(),
            )
        )
    first = bound.get((question.form_id, question.key))
    if first is None:
        return internal.encode_receipt(None)
    is_mismatch = first.fingerprint != question.fingerprint
    return internal.encode_receipt(
        Receipt(first.submission_id, question.form_id, first.received_at, True, is_mismatch)
    )


async def _changes(services: Services, request: Request) -> bytes:
    gateway = internal.decode_gateway(request.query_params)
    if gateway is not None:
        services.gateways.note(gateway)
    epoch = request.query_params.get("epoch", "")
    since = _integer(request, "since")
    wait = min(_integer(request, "wait"), internal.FEED_WAIT_SECONDS)
    state = await services.feed.wait_beyond(since, wait)
    if state.epoch != epoch or since > state.revision:
        async with services.database.read() as connection:
            state = await read_state(connection)
            recalls = await store.recalls(connection, 0)
        return internal.encode_changes(
            internal.ChangesAnswer(state.epoch, state.revision, True, {}, (), recalls)
        )
    async with services.database.read() as connection:
        state = await read_state(connection)
        forms = await store.forms_changed(connection, services.form_configs, since)
        keys = await store.keys_changed(connection, since)
        recalls = await store.recalls(connection, since)
    return internal.encode_changes(
        internal.ChangesAnswer(
            state.epoch, state.revision, forms is None, forms or {}, keys, recalls
        )
    )


async def _state_leases(services: Services, request: Request) -> bytes:
    statement = internal.decode_statement(await request.body())
    return internal.encode_session(await services.intake.leases.state(statement))


async def _write_off(services: Services, request: Request) -> bytes:
    freed = await services.intake.leases.write_off(request.path_params["holder"])
    return orjson.dumps({"freed": freed})


async def _take_usage_report(services: Services, request: Request) -> bytes:
    report = internal.decode_usage_report(await request.body())
    await services.usage_reports.take(report)
    return b"{}"


async def _bootstrap(services: Services, request: Request) -> bytes:
    first = await bootstrap(services)
    return orjson.dumps(first)


def _integer(request: Request, name: str) -> int:
    try:
        return max(0, int(request.query_params.get(name, "0")))
    except ValueError:
        raise internal.UndecodableMessage(f"{name} is not a whole number") from None
