"""HTTP of gateways."""

from typing import Literal

from pydantic import BaseModel, Field

from backend.access import OWNERSHIP
from backend.accounts.store import first_account_id
from backend.gateways.seen import SeenGateway
from backend.operations import Call, Operation


class Gateway(BaseModel):
    """A gateway that follows the feed of the backend that answers."""

    name: str = Field(description="Its host and process.", examples=["web-1, process 812"])
    version: str
    status: Literal["serving", "draining", "silent"] = Field(
        description="`draining`: it is being stopped. `silent`: not heard of for 15 seconds."
    )
    spooled: int = Field(
        description="Submissions that wait in its spool, and in those of workers that there are no "
        "more, which one gateway drains for them."
    )
    seen_seconds_ago: float = Field(examples=[1.2])

    @classmethod
    def of(cls, seen: SeenGateway) -> "Gateway":
        """The answer for one that was seen."""
        status: Literal["serving", "draining", "silent"] = "serving"
        if seen.is_silent:
            status = "silent"
        elif seen.state.is_draining:
            status = "draining"
        return cls(
            name=seen.state.name,
            version=seen.state.version,
            status=status,
            spooled=seen.state.spooled,
            seen_seconds_ago=round(seen.seconds_ago, 1),
        )


class GatewayList(BaseModel):
    """All of them, by name."""

    data: list[Gateway]
    next_cursor: None = None


async def list_gateways(call: Call) -> GatewayList:
    """Machines are the business of whoever runs the server: of the first account."""
    async with call.services.database.read() as connection:
        operator_id = await first_account_id(connection)
    if call.principal.account_id != operator_id:
        return GatewayList(data=[])
    return GatewayList(data=[Gateway.of(seen) for seen in call.services.gateways.all()])


operations = (
    Operation(
        method="GET",
        path="/v1/gateways",
        handler=list_gateways,
        summary="List the gateways seen in the last ten minutes, for the account that runs the "
        "server",
        right=OWNERSHIP,
        answer=GatewayList,
    ),
)
