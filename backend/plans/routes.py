"""HTTP of plans."""

from pydantic import BaseModel, Field

from backend.api import Call, Operation
from backend.plans.catalogue import Plan


class PlanLimits(BaseModel):
    """What a plan allows; null is unlimited."""

    submissions_per_month: int | None
    file_megabytes: int = Field(description="The limit of one file; 0 for no uploads.")
    keys: int | None = Field(description="API keys in force.")
    requests_per_minute: int = Field(description="Calls of this API by one key.")
    retention_days: int | None = Field(
        description="The longest that a form may keep its submissions."
    )
    members: int | None = Field(description="Members, with those who are invited.")

    @classmethod
    def of(cls, plan: Plan) -> "PlanLimits":
        """The limits of a plan."""
        return cls(**plan.model_dump(exclude={"title"}))


class PlanDocument(PlanLimits):
    """A plan of this server."""

    name: str = Field(examples=["selfhost"])
    title: str = Field(examples=["Self-hosted"], description="Its name for people.")


class PlanList(BaseModel):
    """Every plan, in the order of the configuration."""

    data: list[PlanDocument]
    next_cursor: None


async def list_plans(call: Call) -> PlanList:
    plans = [
        PlanDocument(name=name, title=plan.title or name, **PlanLimits.of(plan).model_dump())
        for name, plan in call.services.plans.items()
    ]
    return PlanList(data=plans, next_cursor=None)


operations = (
    Operation(
        method="GET",
        path="/v1/plans",
        handler=list_plans,
        summary="List the plans of this server",
        right="usage:read",
        answer=PlanList,
    ),
)
