"""HTTP of API keys."""

from typing import Literal, Self

from pydantic import BaseModel, Field

from backend.api import Body, Call, Operation
from backend.keys.store import KeyRow
from backend.paging import Page, PageQuery, cut
from backend.schemas import Label, Time
from contracts.keys import KeyKind
from contracts.runtime.clock import iso


class NewApiKey(Body):
    """A key to create."""

    name: Label = Field(description="What the key is for.", examples=["website server"])
    kind: Literal["submission", "management"] = Field(
        description="`submission`: may post to the account's forms. `management`: may use this API."
    )


class ApiKey(BaseModel):
    """An API key, without its secret."""

    id: str
    name: str
    kind: KeyKind
    prefix: str = Field(description="The first characters, to recognise the key by.")
    status: Literal["active", "revoked"]
    created_by: str | None = Field(
        description="The key or user that created it; null for the command line."
    )
    created_at: Time
    revoked_at: Time | None

    @classmethod
    def of(cls, row: KeyRow, **more: str) -> Self:
        """The answer for a row."""
        return cls(
            id=row.id,
            name=row.name,
            kind=KeyKind(row.kind),
            prefix=row.prefix,
            status="active" if row.revoked_at is None else "revoked",
            created_by=row.created_by,
            created_at=iso(row.created_at),
            revoked_at=None if row.revoked_at is None else iso(row.revoked_at),
            **more,
        )


class CreatedApiKey(ApiKey):
    """A key just created: the only answer that shows it in full."""

    key: str = Field(description="The full key. It is not shown again.")


class ApiKeyList(Page[ApiKey]):
    """A page of keys."""


async def create_api_key(call: Call) -> CreatedApiKey:
    new: NewApiKey = call.body
    row, text = await call.services.keys.create(call.principal, new.name, KeyKind(new.kind))
    return CreatedApiKey.of(row, key=text)


async def list_api_keys(call: Call) -> ApiKeyList:
    query: PageQuery = call.query
    rows = await call.services.keys.list(call.principal, query.before("key"), query.limit + 1)
    page, next_cursor = cut(rows, query.limit)
    return ApiKeyList(data=[ApiKey.of(row) for row in page], next_cursor=next_cursor)


async def get_api_key(call: Call) -> ApiKey:
    return ApiKey.of(await call.services.keys.get(call.principal, call.path["key_id"]))


async def revoke_api_key(call: Call) -> None:
    await call.services.keys.revoke(call.principal, call.path["key_id"])


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
        method="DELETE",
        path="/v1/api-keys/{key_id}",
        handler=revoke_api_key,
        summary="Revoke an API key for good; it stays in the list",
        right="keys:manage",
        status=204,
    ),
)
