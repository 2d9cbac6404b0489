"""HTTP of environments."""

from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

from backend.api import Body, Call, Operation
from backend.environments.store import BUILT_IN, EnvironmentRow
from backend.paging import Page, PageQuery, cut
from backend.schemas import Time
from contracts.problems import Problem
from contracts.runtime.clock import iso

NAME_PATTERN = "^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$"

EnvironmentName = Annotated[str, StringConstraints(max_length=32, pattern=NAME_PATTERN)]


class NewEnvironment(Body):
    """An environment to create."""

    name: EnvironmentName = Field(examples=["preview"])


class Environment(BaseModel):
    """An environment: forms and keys belong to one."""

    id: str
    name: str
    is_built_in: bool = Field(description="Whether every account has it: it cannot be removed.")
    created_at: Time

    @classmethod
    def of(cls, row: EnvironmentRow) -> "Environment":
        """The answer for a row."""
        return cls(
            id=row.id,
            name=row.name,
            is_built_in=row.name in BUILT_IN,
            created_at=iso(row.created_at),
        )


class EnvironmentList(Page[Environment]):
    """A page of environments."""


async def list_environments(call: Call) -> EnvironmentList:
    query: PageQuery = call.query
    rows = await call.services.environments.list(
        call.principal, query.before("env"), query.limit + 1
    )
    page, next_cursor = cut(rows, query.limit)
    return EnvironmentList(data=[Environment.of(row) for row in page], next_cursor=next_cursor)


async def create_environment(call: Call) -> Environment:
    new: NewEnvironment = call.body
    return Environment.of(await call.services.environments.create(call.principal, new.name))


async def get_environment(call: Call) -> Environment:
    row = await call.services.environments.get(call.principal, call.path["environment_id"])
    return Environment.of(row)


async def delete_environment(call: Call) -> None:
    await call.services.environments.delete(call.principal, call.path["environment_id"])


operations = (
    Operation(
        method="GET",
        path="/v1/environments",
        handler=list_environments,
        summary="List environments, newest first",
        right="forms:read",
        query=PageQuery,
        answer=EnvironmentList,
    ),
    Operation(
        method="POST",
        path="/v1/environments",
        handler=create_environment,
        summary="Add an environment",
        right="forms:write",
        body=NewEnvironment,
        answer=Environment,
        status=201,
        problems=(Problem.CONFLICT,),
    ),
    Operation(
        method="GET",
        path="/v1/environments/{environment_id}",
        handler=get_environment,
        summary="Read an environment",
        right="forms:read",
        answer=Environment,
    ),
    Operation(
        method="DELETE",
        path="/v1/environments/{environment_id}",
        handler=delete_environment,
        summary="Remove an environment that no form or key belongs to",
        right="forms:write",
        status=204,
        problems=(Problem.CONFLICT,),
    ),
)
