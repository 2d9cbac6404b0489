"""HTTP of the account."""

from pydantic import BaseModel, ConfigDict, Field

from backend.accounts import service
from backend.api import Body, Call, Operation
from backend.plans.routes import PlanLimits
from backend.schemas import Label, Time, without_defaults
from contracts.runtime.clock import iso


class ChangeAccount(Body):
    """The members to change; those not named stay."""

    model_config = ConfigDict(json_schema_extra=without_defaults)

    name: Label = ""
    plan: Label = Field(
        "",
        description="Only the operator of this server changes it: `/v1/plans` lists the names.",
        examples=["selfhost"],
    )


class Account(BaseModel):
    """An account."""

    id: str
    name: str
    plan: str
    may_change_plan: bool = Field(description="Whether whoever asks is this server's operator.")
    limits: PlanLimits
    owner_emails: list[str]
    created_at: Time

    @classmethod
    def of(cls, account: service.Account) -> "Account":
        """The answer for an account."""
        return cls(
            id=account.id,
            name=account.name,
            plan=account.plan_name,
            may_change_plan=account.may_change_plan,
            limits=PlanLimits.of(account.plan),
            owner_emails=account.owners,
            created_at=iso(account.created_at),
        )


async def get_account(call: Call) -> Account:
    return Account.of(await call.services.accounts.get(call.principal))


async def change_account(call: Call) -> Account:
    changes = call.body.model_dump(exclude_unset=True)
    account = await call.services.accounts.change(
        call.principal, changes.get("name"), changes.get("plan")
    )
    return Account.of(account)


operations = (
    Operation(
        method="GET",
        path="/v1/account",
        handler=get_account,
        summary="Read the account",
        right="profile:read",
        answer=Account,
    ),
    Operation(
        method="PATCH",
        path="/v1/account",
        handler=change_account,
        summary="Change the account's name or, for the server's operator, its plan",
        right="members:manage",
        body=ChangeAccount,
        answer=Account,
    ),
)
