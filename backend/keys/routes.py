"""HTTP of API keys."""

from backend.keys.schemas import (
    Accepted,
    ApiKey,
    ApiKeyChanges,
    ApiKeyList,
    CreatedApiKey,
    LeakedKey,
    NewApiKey,
    Rotation,
)
from backend.keys.store import KeyRow
from backend.operations import Call, Operation
from backend.paging import PageQuery, cut
from contracts.keys import KeyKind
from contracts.problems import Problem


async def create_api_key(call: Call) -> CreatedApiKey:
    new: NewApiKey = call.body
    terms = new.named_terms()
    name, kind = terms.pop("name"), KeyKind(terms.pop("kind"))
    row, text = await call.services.keys.create(call.principal, name, kind, terms)
    return await _created(call, row, text)


async def list_api_keys(call: Call) -> ApiKeyList:
    query: PageQuery = call.query
    keys, now_ms = call.services.keys, call.services.clock.now_ms()
    rows = await keys.list(call.principal, query.before("key"), query.limit + 1)
    page, next_cursor = cut(rows, query.limit)
    plan = await keys.plan(call.principal)
    return ApiKeyList(data=[ApiKey.of(row, plan, now_ms) for row in page], next_cursor=next_cursor)


async def get_api_key(call: Call) -> ApiKey:
    return await _shown(call, await call.services.keys.get(call.principal, call.path["key_id"]))


async def change_api_key(call: Call) -> ApiKey:
    changes: ApiKeyChanges = call.body
    row = await call.services.keys.change(
        call.principal, call.path["key_id"], changes.named_terms()
    )
    return await _shown(call, row)


async def rotate_api_key(call: Call) -> CreatedApiKey:
    rotation: Rotation = call.body
    row, text = await call.services.keys.rotate(
        call.principal, call.path["key_id"], rotation.grace_hours
    )
    return await _created(call, row, text)


async def revoke_api_key(call: Call) -> None:
    await call.services.keys.revoke(call.principal, call.path["key_id"])


async def report_leaked_key(call: Call) -> Accepted:
    leaked: LeakedKey = call.body
    await call.services.keys.report_leaked(leaked.key.strip(), call.principal.caller)
    return Accepted()


async def _shown(call: Call, row: KeyRow) -> ApiKey:
    plan = await call.services.keys.plan(call.principal)
    return ApiKey.of(row, plan, call.services.clock.now_ms())


async def _created(call: Call, row: KeyRow, text: str) -> CreatedApiKey:
    plan = await call.services.keys.plan(call.principal)
    return CreatedApiKey.of(row, plan, call.services.clock.now_ms(), key=text)


operations = (
    Operation(
        method="GET",
        path="/v1/api-keys",
        handler=list_api_keys,
        summary="List API keys, revoked ones too, newest first",
        right="keys:manage",
        query=PageQuery,
        answer=ApiKeyList,
    ),
    Operation(
        method="POST",
        path="/v1/api-keys",
        handler=create_api_key,
        summary="Create an API key; the answer alone shows it in full",
        right="keys:manage",
        body=NewApiKey,
        answer=CreatedApiKey,
        status=201,
        problems=(Problem.CONFLICT,),
    ),
    Operation(
        method="GET",
        path="/v1/api-keys/{key_id}",
        handler=get_api_key,
        summary="Read an API key",
        right="keys:manage",
        answer=ApiKey,
    ),
    Operation(
        method="PATCH",
        path="/v1/api-keys/{key_id}",
        handler=change_api_key,
        summary="Change an active API key",
        right="keys:manage",
        body=ApiKeyChanges,
        answer=ApiKey,
        problems=(Problem.CONFLICT,),
    ),
    Operation(
        method="DELETE",
        path="/v1/api-keys/{key_id}",
        handler=revoke_api_key,
        summary="Revoke an API key for good; it stays in the list",
        right="keys:manage",
        status=204,
    ),
    Operation(
        method="POST",
        path="/v1/api-keys/{key_id}/rotate",
        handler=rotate_api_key,
        summary="Put a new API key in the place of an active one, which goes on for a while",
        right="keys:manage",
        body=Rotation,
        answer=CreatedApiKey,
        status=201,
        problems=(Problem.CONFLICT,),
    ),
    Operation(
        method="POST",
        path="/v1/keys/leaked",
        handler=report_leaked_key,
        summary="Report a leaked API key: it is revoked, if it is one",
        right=None,
        body=LeakedKey,
        plain_member="key",
        answer=Accepted,
        status=202,
        problems=(Problem.RATE_LIMITED,),
    ),
)
